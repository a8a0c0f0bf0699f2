"""MELO keeps to what every method must keep to, on a Llama-like model and an encoder-decoder."""

from pathlib import Path

import pytest

from editcore.testing.conformance import MethodConformance, PatchKindConformance
from editcore.testing.taught import taught_model
from editcore.testing.tiny import tiny_model

CHEAP = {"layer": 1, "steps": 6, "background": 8, "others": ("Eve Tolland", "Dan Marlow")}
NO_TENSOR = {"only_located_tensors_are_touched": "it touches no tensor"}


class TestMelo(MethodConformance):
    method = "melo"
    hparams = CHEAP
    not_applicable = NO_TENSOR


@pytest.mark.thorough
class TestMeloOfGpt2(MethodConformance):
    method = "melo"
    hparams = {"steps": 10, "roles": ["mlp_out", "attn_out"], "background": 20}
    not_applicable = {**NO_TENSOR, "a_given_location_is_obeyed": "the last block, which is tried, has none after it"}

    @classmethod
    def model(cls, folder: Path) -> Path:
        return taught_model("gpt2", folder)


@pytest.mark.thorough
class TestMeloOfT5(MethodConformance):
    method = "melo"
    hparams = {"layer": 0, "steps": 10, "background": 20}
    not_applicable = NO_TENSOR

    @classmethod
    def model(cls, folder: Path) -> Path:
        return tiny_model("t5", folder)


@pytest.mark.thorough
class TestRoutedKind(PatchKindConformance):
    patch_kind = "melo.routed"
    method = "melo"
    method_hparams = CHEAP
