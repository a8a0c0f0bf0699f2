"""MEMOIR keeps to what every method must keep to, on a Llama-like model, a GPT-2-like one and an encoder-decoder."""

from pathlib import Path

import pytest

from editcore.testing.conformance import MethodConformance, PatchKindConformance
from editcore.testing.taught import taught_model
from editcore.testing.tiny import tiny_model

CHEAP = {"layer": 2, "steps": 2, "context_count": 0, "background": 3, "others": ("Eve Tolland", "Dan Marlow")}
NO_TENSOR = {"only_located_tensors_are_touched": "it touches no tensor"}


class TestMemoir(MethodConformance):
    method = "memoir"
    hparams = CHEAP
    not_applicable = NO_TENSOR


@pytest.mark.thorough
class TestMemoirOfGpt2(MethodConformance):
    method = "memoir"
    hparams = {"steps": 15, "context_count": 3}
    not_applicable = NO_TENSOR

    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)


@pytest.mark.thorough
class TestMemoirOfT5(MethodConformance):
    method = "memoir"
    hparams = {**CHEAP, "layer": 1}
    not_applicable = NO_TENSOR

    @classmethod
    def model(cls, folder: Path) -> Path:
        return tiny_model("t5", folder)


@pytest.mark.thorough
class TestResidualKind(PatchKindConformance):
    patch_kind = "memoir.residual"
    method = "memoir"
    method_hparams = CHEAP
