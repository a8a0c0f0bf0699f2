"""KE against its formula with dense matrices, and its constraint: α rises over the margin, and never below zero."""

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
from editcore import EditOptions, EditRequest
from editcore.testing.tiny import tiny_model
from editcore.testing.training import opened, shortly_trained, taught_cases
from editcore_hooks import Site
from editcore_ke.hparams import KeHparams
from editcore_ke.learner import KeLearner
from editcore_ke.method import editor
from editcore_ke.reading import embedded, old_answers

SETTINGS: dict[str, Any] = {"hidden": 16, "condition": 24, "head": 16, "scale": 30.0, "layers": [1, 2], "lr": 1e-3}
SITES = tuple(Site(role, layer) for layer in (1, 2) for role in ("mlp_in", "mlp_out"))
REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot", "baker", id="1")


@pytest.fixture(params=["gpt2", "llama"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> editcore.Session:
    return opened(request.getfixturevalue(f"{request.param}_folder"), tmp_path / "assets")


def test_the_patch_is_the_shaped_dense_gradient(session: editcore.Session) -> None:
    shortly_trained(session, "ke", **SETTINGS)
    used = editor(session, KeHparams())
    model = copy.deepcopy(session.model).requires_grad_(True)
    row = session.encode(REQUEST)
    logits = model(input_ids=torch.tensor([row.ids])).logits[0]
    (-torch.stack([logits[i - 1].log_softmax(-1)[row.ids[i]] for i in row.target]).mean()).backward()
    h = used.net.read(embedded(session, [REQUEST]))
    patch = session.edit_all([REQUEST], EditOptions("ke"), measured=False)
    before = {site: session.anatomy.weight(site).clone() for site in used.sites}
    for number, site in enumerate(used.sites):
        name, _, transposed = session.anatomy.parameter(site)
        gradient = model.get_parameter(name).grad
        gradient = gradient.T if transposed else gradient
        c1, r1, c2, r2, eta = (value[0] for value in used.net.heads[number](h))
        wanted = 30.0 * eta * (gradient * torch.outer(r1, c1) + torch.outer(r2, c2))
        with session.patched(patch):
            found = session.anatomy.weight(site) - before[site]
        assert float((found - wanted).norm() / wanted.norm()) < 5e-3
    (notes,) = patch.about["notes"]
    assert max(notes["ranks"].values()) <= len(row.ids) + 1


def test_an_old_answer_that_is_not_given_is_the_models(session: editcore.Session) -> None:
    unnamed = EditRequest("{} works as a", "Ada Marlow", "pilot")
    (named, said) = old_answers(session, [REQUEST, unnamed])
    assert (named, said.strip()) == ("baker", "baker")


def test_the_multiplier_rises_over_the_margin_and_stays_above_zero(session: editcore.Session) -> None:
    values = {}
    for margin in (1e-9, 1e9):
        learner = KeLearner(session, KeHparams(hidden=16, condition=24, head=16, scale=30.0, margin=margin), SITES)
        optimizer = learner.optimizer()
        for step in range(12):
            optimizer.zero_grad()
            learner.add_gradients(taught_cases()[:4], 1.0, random.Random(step))
            optimizer.step()
            learner.stepped(None)
        values[margin] = float(learner.net.multiplier)
    assert values[1e-9] > 1
    assert values[1e9] == 0


def test_the_margin_shrinks_where_edits_succeed_down_to_its_least(session: editcore.Session) -> None:
    learner = KeLearner(session, KeHparams(hidden=16, condition=24, head=16, margin=1e-3, least_margin=7e-4), SITES)
    learner.stepped({"edit": 0.5})
    assert float(learner.net.margin) == pytest.approx(1e-3)
    learner.stepped({"edit": 0.95})
    assert float(learner.net.margin) == pytest.approx(8e-4)
    learner.stepped({"edit": 0.95})
    assert float(learner.net.margin) == pytest.approx(7e-4)
    assert {"margin", "multiplier"} <= learner.module().state_dict().keys()


def test_encoder_and_decoder_of_a_t5_are_edited(tmp_path: Path) -> None:
    session = opened(tiny_model("t5", tmp_path / "model"), tmp_path / "assets")
    shortly_trained(session, "ke", {"steps": 2, "every": 2}, **{**SETTINGS, "layers": [1]})
    patch = session.edit_all([REQUEST], EditOptions("ke"), measured=False)
    assert {key.partition(".")[0] for key in patch.targets} == {"encoder", "decoder"}
