"""WISE keeps to what every method and every kind of patch must keep to."""

from pathlib import Path

import pytest

from editcore.testing.conformance import MethodConformance, PatchKindConformance
from editcore.testing.taught import taught_model
from editcore_hooks import EditRequest

REQUESTS = (
    EditRequest("{} works as a", "Ada Marlow", "pilot", "baker", id="1"),
    EditRequest("{} earns a living as a", "Cleo Tolland", "poet", id="2"),
)
CHEAP = {
    "layer": 1, "steps": 4, "context_templates": ["So. {}"],
    "irrelevant": ["Bo Quist lives in", "Dan Marlow works as a"],
}  # fmt: skip


class TestWise(MethodConformance):
    method = "wise"
    hparams = CHEAP
    requests = REQUESTS
    not_applicable = {"only_located_tensors_are_touched": "it touches no tensor"}


@pytest.mark.thorough
class TestSideKind(PatchKindConformance):
    patch_kind = "wise.side"
    method = "wise"
    method_hparams = CHEAP


@pytest.mark.thorough
class TestWiseOfGpt2(TestWise):
    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)
