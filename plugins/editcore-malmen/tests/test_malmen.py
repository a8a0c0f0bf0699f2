"""MALMEN and RLEdit as their users meet them: any number of facts, facts taken back, and edits in sequence."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve

import editcore
from editcore import EditOptions
from editcore.testing.tiny import tiny_model
from editcore.testing.training import opened, shortly_trained, taught_cases
from editcore_hooks import Site
from editcore_malmen.hparams import MalmenHparams, RlEditHparams
from editcore_malmen.learner import MalmenLearner
from editcore_malmen.sequence import RlEditLearner

SETTINGS: dict[str, Any] = {"rank": 16, "edit_lr": 2e-3, "layers": [1, 2]}
SITES = (Site("mlp_out", 1), Site("mlp_out", 2))


@pytest.fixture
def session(llama_folder: Path, tmp_path: Path) -> editcore.Session:
    return opened(llama_folder, tmp_path / "assets")


def weights(session: editcore.Session) -> list[torch.Tensor]:
    return [session.anatomy.weight(site).clone() for site in SITES]


def test_all_requests_are_read_and_one_is_taken_back_exactly(
    session: editcore.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published code asks for a fixed number of edits and drops what is over; 7 is no multiple of 3."""
    shortly_trained(session, "malmen", **SETTINGS)
    requests = [case.request for case in taught_cases()[:7]]
    whole = session.edit_all(requests, EditOptions("malmen"), measured=False)
    monkeypatch.setattr("editcore_malmen.keys.CHUNK", 3)
    in_chunks = session.edit_all(requests, EditOptions("malmen"), measured=False)
    shuffled = session.edit_all(requests[::-1], EditOptions("malmen"), measured=False)
    rest = session.edit_all(requests[:-1], EditOptions("malmen"), measured=False)
    base = weights(session)
    found = []
    for patch in (whole, in_chunks, shuffled, rest):
        with session.patched(patch):
            found.append([one - start for one, start in zip(weights(session), base, strict=True)])
    for a, b, c, d in zip(*found, strict=True):
        assert float((a - b).norm() / a.norm()) < 1e-3
        assert float((a - c).norm() / a.norm()) < 1e-3
        assert float((a - d).norm() / a.norm()) > 1e-3
    (notes,) = whole.about["notes"]
    assert set(notes["form"].values()) == {"of the keys"}


def test_more_keys_than_the_matrix_is_wide_make_a_whole_matrix(session: editcore.Session) -> None:
    shortly_trained(session, "malmen", **SETTINGS, tokens="all")
    every = [case.request for case in taught_cases()]
    more = [evolve(r, target_new=t, id=f"{r.id}{t}") for r in every for t in ("pilot", "Rome", "Oslo", "poet", "Lima")]
    patch = session.edit_all(more, EditOptions("malmen"), measured=False)
    (notes,) = patch.about["notes"]
    assert min(notes["keys"].values()) > session.anatomy.mlp_width
    assert set(notes["form"].values()) == {"of the matrix"}
    assert {target.form.name for target in patch.targets.values()} == {"dense"}


def test_one_edit_in_sequence_learns_as_malmen_does(session: editcore.Session) -> None:
    common = {"rank": 16, "edit_lr": 2e-3}
    one = MalmenLearner(session, MalmenHparams(**common), SITES)
    other = RlEditLearner(session, RlEditHparams(**common, size=5, c_size=0.0), SITES)
    other.nets.load_state_dict(one.nets.state_dict())
    for learner in (one, other):
        learner.prepare(taught_cases())
        learner.add_gradients(taught_cases()[:5], 1.0, random.Random(0))
    for (name, p), q in zip(one.nets.named_parameters(), other.nets.parameters(), strict=True):
        if p.grad is None:
            assert q.grad is None, name
        else:
            torch.testing.assert_close(q.grad, p.grad, rtol=1e-3, atol=1e-7)


def test_a_sequence_is_learnt_with_its_last_short_edit(session: editcore.Session) -> None:
    learner = RlEditLearner(session, RlEditHparams(rank=16, edit_lr=2e-3, size=3), SITES)
    learner.prepare(taught_cases())
    seen: list[int] = []
    keys = learner.keys
    learner.keys = lambda items: seen.append(len(items)) or keys(items)
    losses = learner.add_gradients(taught_cases()[:7], 1.0, random.Random(0))
    assert seen == [3, 3, 1]
    assert losses["size"] > 0


def test_the_size_of_an_edit_has_a_gradient(session: editcore.Session) -> None:
    gradients = []
    for weight in (0.0, 10.0):
        torch.manual_seed(0)
        learner = RlEditLearner(session, RlEditHparams(rank=16, edit_lr=2e-3, size=3, c_size=weight), SITES)
        learner.prepare(taught_cases())
        learner.add_gradients(taught_cases()[:6], 1.0, random.Random(0))
        gradients.append(learner.nets.step.grad.clone())
    assert float((gradients[1] - gradients[0]).min()) > 0  # larger steps make larger edits


def test_rledit_has_an_editor_of_its_own(session: editcore.Session) -> None:
    shortly_trained(session, "malmen", **SETTINGS)
    with pytest.raises(editcore.EditcoreError, match="not trained"):
        session.edit_all([taught_cases()[0].request], EditOptions("rledit"))
    shortly_trained(session, "rledit", {"batch": 6}, **SETTINGS, size=2)
    first = session.edit_all([taught_cases()[0].request], EditOptions("rledit"))
    with session.patched(first):
        second = session.edit_all([taught_cases()[1].request], EditOptions("rledit"))
    assert first.patch_id != second.patch_id


@pytest.mark.parametrize("method", ["malmen", "rledit"])
def test_encoder_and_decoder_of_a_t5_are_edited(tmp_path: Path, method: str) -> None:
    session = opened(tiny_model("t5", tmp_path / "model"), tmp_path / "assets")
    shortly_trained(session, method, {"steps": 2, "every": 2}, rank=16, edit_lr=1e-2, layers=[1])
    requests = [case.request for case in taught_cases()[:3]]
    patch = session.edit_all(requests, EditOptions(method), measured=False)
    assert len(patch.targets) == 2
    asked = [(request.rendered().text, request.target_new, None, "auto") for request in requests]
    before = [score.sum for score in session.score_targets(asked)]  # type: ignore[arg-type]
    with session.patched(patch):
        after = [score.sum for score in session.score_targets(asked)]  # type: ignore[arg-type]
    assert sum(after) > sum(before)
