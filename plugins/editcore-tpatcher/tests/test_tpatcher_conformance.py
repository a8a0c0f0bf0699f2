"""T-Patcher keeps to what every method must keep to."""

from pathlib import Path

from editcore.testing.conformance import MethodConformance
from editcore.testing.taught import taught_model

CHEAP = {
    "steps": 100, "first_check": 50, "check_every": 10, "memory_corpus": "bundled", "memory_tokens": 128,
    "others": ("Eve Tolland", "Dan Marlow"),
}  # fmt: skip


class TestTPatcher(MethodConformance):
    method = "t-patcher"
    hparams = CHEAP


class TestTPatcherOfGpt2(MethodConformance):
    method = "t-patcher"
    hparams = {**CHEAP, "context_count": 2}

    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)
