"""ICE as its users meet it: contexts from each source, what the patch keeps, and what is refused."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import editcore
from editcore import EditcoreError, EditOptions, EditRequest
from editcore.plugins.hparams import from_mapping
from editcore.testing.tiny import tiny_model
from editcore.text.yaml_text import parse
from editcore_ice.hooks import Ice
from editcore_ice.presets import default_layers, layers_around

REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot", "baker", id="1")
GIVEN = attrs.evolve(REQUEST, contexts=("Ada Marlow flies for a living.", "She became a {pilot}."))


@pytest.fixture(scope="module")
def llama(llama_folder: Path) -> editcore.Session:
    return editcore.open(llama_folder)


def options(**values: Any) -> EditOptions:
    settings = {"layers": [1, 2], "lr": 2e-3, "steps": 2, "linf_radius": 5e-3, **values}
    return EditOptions("ice", hparams=(("test", settings),))


def notes(session: editcore.Session, request: EditRequest = REQUEST, **values: Any) -> dict[str, Any]:
    return session.edit_all([request], options(**values)).about["notes"][0]  # type: ignore[no-any-return]


def chance(session: editcore.Session) -> float:
    (score,) = session.score_targets([(REQUEST.rendered().text, REQUEST.target_new, None, "auto")])
    return score.sum


@pytest.mark.parametrize("eos", [False, True])
def test_the_fact_is_learnt_and_ends_where_asked_for(llama: editcore.Session, eos: bool) -> None:
    """This model never ends a text, so that the box has to be wide."""
    with llama.patched(llama.edit_all([REQUEST], options(steps=40, lr=5e-3, linf_radius=0.05, eos=eos))):
        assert chance(llama) > -0.5
        logits = llama.model(torch.tensor([llama.encode(REQUEST).ids])).logits[0, -1]
    assert (int(logits.argmax()) == llama.tokenizer.eos_token_id) is eos


def test_the_patch_keeps_contexts_samples_and_curves(llama: editcore.Session) -> None:
    found = notes(llama, GIVEN, sample_count=2, steps=3)
    assert found["contexts"] == [list(GIVEN.contexts)]
    (drawings,) = found["samples"]
    assert [(len(drawn), {len(sample) for sample in drawn}) for drawn in drawings] == [(4, {3})] * 3
    assert {name: len(curve) for name, curve in found["curves"].items()} == {"target": 3, "ice": 3}
    ((first, last),) = found["distributions"]
    for seen in (first, last):
        assert len(seen["tokens"]) == len(seen["with"]) == len(seen["without"]) == 10
        assert seen["with"] == sorted(seen["with"], reverse=True)


@pytest.mark.parametrize(
    ("request_", "values", "contexts"),
    [
        (
            REQUEST,
            {"context_templates": ["So: {}", "{}"]},
            ["So: Ada Marlow works as a pilot.", "Ada Marlow works as a pilot."],
        ),
        (GIVEN, {"context_source": "templates", "context_count": 1}, ["Ada Marlow works as a pilot."]),
        (GIVEN, {"context_count": 1}, [GIVEN.contexts[0]]),
        (GIVEN, {"in_context": False}, [""]),
    ],
)  # fmt: skip
def test_contexts_are_those_asked_for(
    llama: editcore.Session, request_: EditRequest, values: dict[str, Any], contexts: list[str]
) -> None:
    assert notes(llama, request_, **values)["contexts"] == [contexts]


def test_the_model_writes_contexts_that_begin_with_the_fact(llama: editcore.Session) -> None:
    first, again = (notes(llama, context_source="model", context_count=3)["contexts"][0] for _ in range(2))
    assert first == again
    assert len(set(first)) > 1
    assert all(text.startswith("Ada Marlow works as a pilot.") for text in first)


def test_without_context_a_dynamic_target_teaches_nothing(llama: editcore.Session) -> None:
    """It is the model's own distribution: L_ICE is nothing, and the edit is that of L_FT."""
    found = notes(llama, in_context=False, steps=3)
    assert found["curves"]["ice"] == pytest.approx([0, 0, 0], abs=1e-5)


def test_a_static_target_stays_where_it_was(llama: editcore.Session) -> None:
    """With one drawing for all steps the teacher's distribution at the end is that of the beginning, bit for bit."""
    kept = {"update_interval": 9, "steps": 4, "eos": False}
    for target, same in (("static", True), ("dynamic", False)):
        ((first, last),) = notes(llama, target=target, **kept)["distributions"]
        assert (first["with"] == last["with"]) is same
        assert first["without"] != last["without"]


def test_other_seeds_give_other_samples(llama_folder: Path) -> None:
    drawn = [notes(editcore.open(llama_folder, seed=seed))["samples"] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"context_source": "case"}, "has no contexts"),
        ({"context_templates": ["no mark"]}, "has no {}"),
        ({"sample_length": 1}, "nothing to teach"),
        ({"constraint": "kl"}, "constraint"),
        ({"temperature": 0}, "temperature"),
        ({"layers": [9]}, "no layer 9"),
        ({"lr": 1e30, "constraint": "none"}, "diverged"),
    ],
)
def test_settings_that_cannot_work_are_refused(llama: editcore.Session, values: dict[str, Any], message: str) -> None:
    with pytest.raises(EditcoreError, match=message):
        llama.edit_all([REQUEST], options(**values))


def test_an_encoder_decoder_writes_no_contexts(tmp_path: Path) -> None:
    session = editcore.open(tiny_model("t5", tmp_path / "model"))
    with pytest.raises(EditcoreError, match="writes no contexts"):
        session.edit_all([REQUEST], options(context_source="model"))


def test_every_preset_loads_and_names_layers_of_its_model() -> None:
    for path in files("editcore_ice.presets").iterdir():
        if path.name.endswith(".yaml"):
            preset = parse(path.read_text("utf-8"), path.name)
            hparams = from_mapping(Ice.Hparams, preset["ice"])
            assert max(hparams.layers) < preset["match"]["n_layers"]


@pytest.mark.parametrize("n_layers", [1, 4, 12, 32, 48])
def test_layers_stand_within_the_model_and_each_setting_is_one(n_layers: int) -> None:
    assert set(default_layers({"n_layers": n_layers})) <= set(range(n_layers))
    assert layers_around(8, 5, 32) == (6, 7, 8, 9, 10)
    space = Ice.tunable({"n_layers": n_layers, "edits": 500})
    tried = [from_mapping(Ice.Hparams, {**place, **recipe}) for place in space.places for recipe in space.recipes]
    assert len(set(tried)) == len(tried)
    assert all(set(h.layers) <= set(range(n_layers)) for h in tried)
