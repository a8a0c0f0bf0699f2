"""GRACE keeps to what every method must keep to, on a decoder and on an encoder-decoder."""

from pathlib import Path

import pytest

from editcore.testing.conformance import MethodConformance, PatchKindConformance
from editcore.testing.tiny import tiny_model


class TestGrace(MethodConformance):
    method = "grace"
    hparams = {"layer": 1, "steps": 40}
    not_applicable = {"only_located_tensors_are_touched": "it touches no tensor"}


@pytest.mark.thorough
class TestGraceT5(TestGrace):
    @classmethod
    def model(cls, folder: Path) -> Path:
        return tiny_model("t5", folder)


@pytest.mark.thorough
class TestCodebookKind(PatchKindConformance):
    patch_kind = "grace.codebook"
    method = "grace"
    method_hparams = {"layer": 1, "steps": 40}
