"""EMMET keeps to what every method must keep to, on a Llama-like and a GPT-2-like model."""

from pathlib import Path

import pytest

from editcore.testing.conformance import MethodConformance
from editcore.testing.taught import taught_model

QUICK = {
    "layers": [0, 1], "v_steps": 8, "v_lr": 0.3, "v_weight_decay": 0.01, "clamp": 8, "context_count": 2,
    "mom2_tokens": 2000, "slack": 0.1, "mom2_weight": 100,
}  # fmt: skip


class TestEmmet(MethodConformance):
    method = "emmet"
    hparams = QUICK


@pytest.mark.thorough
class TestEmmetOnGpt2(MethodConformance):
    method = "emmet"
    hparams = QUICK

    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)
