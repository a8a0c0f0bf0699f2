"""What methods that write many facts at once share as plugins."""

from pathlib import Path

import pytest

import editcore
from editcore import EditcoreError, EditOptions, EditRequest
from editcore.plugins.registry import registry
from editcore.testing.tiny import tiny_model
from editcore_keyvalue.spread_method import SpreadMethod

MODEL = {"model_type": "gpt2", "n_layers": 24, "hidden_size": 1024, "mlp_width": 4096, "encoder_decoder": False}
METHODS = sorted(name for name, cls in registry().methods.classes().items() if issubclass(cls, SpreadMethod))


@pytest.mark.parametrize("name", [*METHODS, "ultraedit"])
def test_what_tune_tries_are_settings_of_the_method_in_the_first_half_and_nothing_with_an_encoder(name: str) -> None:
    cls = registry().method(name)
    space = cls.tunable({**MODEL, "edits": 60})
    assert space is not None
    assert space.together == 50
    for place in space.places:
        assert max(place["layers"]) < MODEL["n_layers"] / 2 or name == "ultraedit"
        for recipe in space.recipes:
            cls.Hparams(**{**recipe, "layers": tuple(place["layers"])})  # one that does not fit raises
    assert cls.tunable({**MODEL, "encoder_decoder": True}) is None


def test_a_method_that_names_nothing_to_try_is_not_tuned() -> None:
    class Mine(SpreadMethod):
        """Has no name yet, so that it needs no update."""

    assert Mine.tunable({**MODEL, "edits": 60}) is None


@pytest.mark.parametrize("name", METHODS)
def test_a_model_with_an_encoder_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    session = editcore.open(tiny_model("t5", tmp_path))
    with pytest.raises(EditcoreError, match=f"{name} writes into a block that reads the subject") as caught:
        session.edit_all([EditRequest("{} works as a", "Ada Marlow", "pilot")], EditOptions(name))
    assert "ft-m" in caught.value.hint
