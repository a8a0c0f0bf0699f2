"""T-Patcher keeps to what every method must keep to, also where it samples contexts, and on T5."""

from pathlib import Path

import pytest

from editcore.testing.conformance import MethodConformance
from editcore.testing.taught import taught_model
from editcore.testing.tiny import tiny_model

CHEAP = {
    "layer": 2, "steps": 100, "first_check": 50, "check_every": 10, "context_count": 0,
    "memory_corpus": "bundled", "memory_tokens": 128, "others": ("Eve Tolland", "Dan Marlow"),
}  # fmt: skip


class TestTPatcher(MethodConformance):
    method = "t-patcher"
    hparams = CHEAP


@pytest.mark.thorough
class TestTPatcherOfGpt2(MethodConformance):
    method = "t-patcher"
    hparams = {**CHEAP, "context_count": 2}

    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)


@pytest.mark.thorough
class TestTPatcherOfT5(MethodConformance):
    method = "t-patcher"
    hparams = {**CHEAP, "steps": 40, "first_check": 20, "memory_weight": 0.1}  # random weights tell prompts badly apart

    @classmethod
    def model(cls, folder: Path) -> Path:
        return tiny_model("t5", folder)
