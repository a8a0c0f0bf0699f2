"""CrispEdit keeps to what every method must keep to, in both of its forms, on a Llama-like and a GPT-2-like model."""

from pathlib import Path

import pytest

from editcore.testing.conformance import MethodConformance
from editcore.testing.taught import taught_model

QUICK = {"layers": [1, 2], "lr": 2e-3, "steps": 5, "energy": 0.8, "mom2_tokens": 1000, "gradient_tokens": 500}


class TestCrispEdit(MethodConformance):
    method = "crispedit"
    hparams = QUICK


@pytest.mark.thorough
class TestCrispEditOnGpt2(MethodConformance):
    method = "crispedit"
    hparams = {**QUICK, "adam": "eigenbasis", "context_count": 2}

    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)
