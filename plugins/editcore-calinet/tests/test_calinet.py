"""CaliNET as its users meet it: slots that begin as nothing, many facts in one patch, other subjects left alone."""

from math import exp
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import editcore
from editcore import EditcoreError, EditOptions, EditRequest
from editcore.authoring.models import mlp_of
from editcore.plugins.hparams import from_mapping
from editcore.testing.tiny import tiny_model
from editcore_calinet.hooks import Calinet
from editcore_calinet.hparams import CalinetHparams
from editcore_calinet.keys import random_keys
from editcore_calinet.presets import default_layers
from editcore_calinet.slots import Slots
from editcore_calinet.sparing import spared
from editcore_hooks import Location, Site, State

REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("{} lives in", "Bo Quist", "Lima", id="2"),
    EditRequest("The job of {} is that of a", "Cleo Tolland", "poet", id="3"),
]
OTHER = EditRequest("{} works as a", "Eve Quist", "pilot")


@pytest.fixture(scope="module")
def session(gpt2_folder: Path) -> editcore.Session:
    return editcore.open(gpt2_folder)


def edit(session: editcore.Session, requests: list[EditRequest] = REQUESTS, **values: Any) -> editcore.Patch:
    cheap = {"layers": [1], "slots": 8, "lr": 1e-2, "eos": False, "context_count": 0, "text_count": 4, "other_count": 4}
    return session.edit_all(requests, EditOptions("calinet", hparams=(("test", {**cheap, **values}),)))


def logprobs(session: editcore.Session, requests: list[EditRequest]) -> list[float]:
    asked = [(one.rendered().text, one.target_new, None, "auto") for one in requests]
    return [score.sum for score in session.score_targets(asked)]  # type: ignore[arg-type]


def test_the_facts_of_a_call_share_one_patch_in_batches_too(session: editcore.Session) -> None:
    patch = edit(session, layers=[1, 2], batch_size=2)
    notes = patch.about["notes"][0]
    assert notes["converged"]
    assert notes["slots"] == {"decoder.1.block": 8, "decoder.2.block": 8}
    with session.patched(patch):
        assert min(logprobs(session, REQUESTS)) > -0.1
    assert all(parameter.grad is None for parameter in session.model.parameters())


@pytest.mark.parametrize("gated", [False, True])
def test_slots_begin_as_nothing(session: editcore.Session, gated: bool) -> None:
    mlp = attrs.evolve(mlp_of(session.anatomy, Site("block", 1)), gated=gated)
    slots = Slots.at(mlp, random_keys(mlp, 12, torch.Generator().manual_seed(0)))
    x = torch.randn(3, mlp.hidden_size)
    assert not slots.added(x).any()
    assert len(slots.keys) == (6 if gated else 12)
    assert (slots.gate is not None) is gated
    assert all(leaf.requires_grad for leaf in slots.leaves)


def test_other_subjects_keep_more_of_their_answers_than_without_the_term(session: editcore.Session) -> None:
    """Without it, the slots give the target to them too."""
    chances = [exp(*logprobs(session, [OTHER]))]
    held = {"others": ["Eve Quist", "Dan Marlow"], "lr": 3e-3, "steps": 30, "stop_loss": 0.0}
    for weight in (0.0, 4.0):
        with session.patched(edit(session, REQUESTS[:1], **held, spare_weight=weight)):
            chances.append(exp(*logprobs(session, [OTHER])))
    before, without, with_it = chances
    assert abs(with_it - before) < abs(without - before) / 2, chances


def test_beside_an_encoder_the_bundled_text_gives_what_is_left_alone(tmp_path: Path) -> None:
    session = editcore.open(tiny_model("t5", tmp_path))
    ((texts, asked),) = spared(session, [REQUESTS], CalinetHparams(text_count=5, other_count=4))
    end = session.tokenizer.eos_token_id
    assert len(texts.items) == len(texts.reference) == 5  # a place each: where the answer begins
    assert all(prompt[-1] == end for prompt, _ in texts.items)
    assert len(asked.items) == 4
    assert not {session.encode(request).prompt_ids for request in REQUESTS} & {prompt for prompt, _ in asked.items}
    assert spared(session, [REQUESTS], CalinetHparams(text_count=0, other_count=0)) == [()]
    (((one),),) = spared(session, [REQUESTS[:1]], CalinetHparams(text_count=0, others=("Eve Quist",)))
    row = session.encode(OTHER)
    assert one.items == ((row.prompt_ids, row.target_ids[:1]),)


@pytest.mark.parametrize(
    "sites", [(), (Site("attn_out", 1),), (Site("mlp_out", 1, "encoder"),)], ids=["none", "attention", "encoder"]
)
def test_places_without_an_mlp_of_the_decoder_are_refused(session: editcore.Session, sites: tuple[Site, ...]) -> None:
    method = Calinet(from_mapping(CalinetHparams, {"context_count": 0, "spare_weight": 0.0}))
    with pytest.raises(EditcoreError, match=r"site|MLP|decoder"):
        method.compute_update(session, REQUESTS, Location(sites), State(""))


@pytest.mark.parametrize("n_layers", [1, 3, 12, 48])
def test_all_that_is_tried_is_a_setting_and_no_two_are_one(n_layers: int) -> None:
    space = Calinet.tunable({"n_layers": n_layers, "edits": 500})
    tried = [from_mapping(CalinetHparams, {**place, **recipe}) for place in space.places for recipe in space.recipes]
    assert len(set(tried)) == len(tried)
    assert {0, n_layers - 1} <= {layer for one in tried for layer in one.layers} <= set(range(n_layers))
    assert default_layers({"n_layers": n_layers, "encoder_decoder": True}) == (n_layers - 1,)
    assert 0 <= default_layers({"n_layers": n_layers})[0] < n_layers
