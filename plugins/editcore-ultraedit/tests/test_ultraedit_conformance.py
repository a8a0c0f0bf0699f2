"""UltraEdit keeps to what every method must keep to, on a Llama-like and a GPT-2-like model."""

from pathlib import Path

import pytest

from editcore.testing.conformance import MethodConformance
from editcore.testing.taught import taught_model

QUICK = {"layers": [2, 3], "lr": 1e-3}


class TestUltraEdit(MethodConformance):
    method = "ultraedit"
    hparams = QUICK


@pytest.mark.thorough
class TestUltraEditOnGpt2(MethodConformance):
    method = "ultraedit"
    hparams = QUICK

    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)
