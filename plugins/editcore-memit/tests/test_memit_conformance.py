"""MEMIT keeps to what every method must keep to, on a Llama-like and a GPT-2-like model."""

from pathlib import Path

import pytest

from editcore.testing.conformance import MethodConformance
from editcore.testing.taught import taught_model

QUICK = {
    "layers": [0, 1], "v_steps": 8, "v_lr": 0.3, "v_weight_decay": 0.01, "clamp": 8, "context_count": 2,
    "mom2_tokens": 2000, "mom2_weight": 10,
}  # fmt: skip


@pytest.mark.thorough
class TestMemit(MethodConformance):
    method = "memit"
    hparams = QUICK


class TestMemitOnGpt2(MethodConformance):
    method = "memit"
    hparams = QUICK

    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)
