"""CaliNET keeps to what every method must keep to."""

from pathlib import Path

import pytest

from editcore.testing.conformance import MethodConformance
from editcore.testing.taught import taught_model
from editcore.testing.tiny import tiny_model

CHEAP = {
    "layers": [1], "slots": 8, "lr": 5e-3, "steps": 4, "context_count": 1, "text_count": 2, "other_count": 2,
}  # fmt: skip


class TestCalinetOfGpt2(MethodConformance):
    method = "calinet"
    hparams = CHEAP

    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)


@pytest.mark.thorough
class TestCalinetOfLlama(MethodConformance):
    method = "calinet"
    hparams = CHEAP


@pytest.mark.thorough
class TestCalinetOfT5(MethodConformance):
    method = "calinet"
    hparams = CHEAP

    @classmethod
    def model(cls, folder: Path) -> Path:
        return tiny_model("t5", folder)
