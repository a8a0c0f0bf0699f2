"""Families with tensors stored either way round, fused or with a prefix keep to what every family must keep to."""

from pathlib import Path

from editcore.testing.conformance import ArchitectureConformance
from editcore.testing.tiny import tiny_model


class TestGpt2(ArchitectureConformance):
    architecture = "gpt2"

    @classmethod
    def model(cls, folder: Path) -> Path:
        return tiny_model("gpt2", folder)


class TestFalcon(ArchitectureConformance):
    architecture = "falcon"

    @classmethod
    def model(cls, folder: Path) -> Path:
        return tiny_model("falcon", folder)
