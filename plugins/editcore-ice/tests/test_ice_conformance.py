"""ICE keeps to what every method must keep to, on decoders of two families and on T5."""

from pathlib import Path

import pytest

from editcore.testing.conformance import MethodConformance
from editcore.testing.taught import taught_model
from editcore.testing.tiny import tiny_model

QUICK = {"layers": [1], "lr": 2e-3, "steps": 3, "linf_radius": 5e-3, "context_count": 2}


class TestIce(MethodConformance):
    method = "ice"
    hparams = QUICK


@pytest.mark.thorough
class TestIceOnGpt2(MethodConformance):
    method = "ice"
    hparams = {**QUICK, "form": "samples", "context_source": "model", "context_length": 6, "rank": 8}

    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)


class TestIceOnT5(MethodConformance):
    method = "ice"
    hparams = QUICK

    @classmethod
    def model(cls, folder: Path) -> Path:
        return tiny_model("t5", folder)
