"""Defer and the memory network keep to what every method must keep to."""

from pathlib import Path

import pytest

from editcore.testing.conformance import MethodConformance
from editcore.testing.tiny import tiny_model

NOT = {"only_located_tensors_are_touched": "it touches no tensor"}


class TestDefer(MethodConformance):
    method = "defer"
    hparams = {"layer": 1, "steps": 15, "others": 2, "passages": 2}
    not_applicable = NOT


@pytest.mark.thorough
class TestMemoryNetwork(MethodConformance):
    method = "memory-network"
    hparams = {"layer": 1, "steps": 15, "others": 2, "passages": 2, "slots": 8}
    not_applicable = NOT


@pytest.mark.thorough
class TestDeferT5(TestDefer):
    @classmethod
    def model(cls, folder: Path) -> Path:
        return tiny_model("t5", folder)


@pytest.mark.thorough
class TestMemoryNetworkT5(TestMemoryNetwork):
    @classmethod
    def model(cls, folder: Path) -> Path:
        return tiny_model("t5", folder)
