"""Blame: the patch that broke a fact, in about log2(n) models, and the truth where there is no single one."""

import math
from collections.abc import Callable

import pytest
import torch

import editcore
from editcore import Case, EditRequest, Session
from editcore.editing.blame import blame, own_cases
from editcore.patches.checkpoint.identity import base_identity
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import to_stored
from editcore.testing.tiny import tiny_model
from editcore_hooks import LowRank

KEY = "model.layers.0.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return editcore.open(tiny_model("llama", tmp_path_factory.mktemp("blame"), n_layers=2))


@pytest.fixture(scope="module")
def make(session: Session) -> Callable[..., Patch]:
    opened = session.checkpoint
    entry, sha256, base = opened.entries[KEY], opened.base_sha256(KEY), base_identity(opened, "tiny")

    def make(seed: int, size: float, **about: object) -> Patch:
        drawn = torch.Generator().manual_seed(abs(seed))
        value, key = torch.randn(entry.shape[0], 1, generator=drawn), torch.randn(1, entry.shape[1], generator=drawn)
        update = to_stored(LowRank(value * size, key), False)
        return seal({KEY: Target(update, entry.dtype, entry.shape, sha256)}, base, {"title": f"p{seed}", **about})

    return make


@pytest.fixture(scope="module")
def case(session: Session, make: Callable[..., Patch]) -> Case:
    """What the base says, and says no more under either loud patch."""
    for subject in ("Ada", "Bo", "Apple", "Paris", "Lyon", "Anna Maria"):
        for relation in ("is", "lives in", "works as", "stands"):
            said = session.generate(f"{subject} {relation}", 1)
            if said.strip():
                case = Case(EditRequest(f"{{}} {relation}", subject, said, id=subject, target_prefix="none"))
                loud = []
                for seed in (101, 102):
                    with session.patched(make(seed, 30.0)):
                        loud.append(holds(session, case))
                if holds(session, case) and not any(loud):
                    return case
    raise AssertionError("no prompt that the tiny model answers and a loud patch breaks")


def holds(session: Session, case: Case) -> bool:
    request = case.request
    (score,) = session.score_targets([(request.rendered().text, request.target_new, None, request.target_prefix)])
    return all(score.hits)


@pytest.mark.parametrize("place", [0, 3, 7])
def test_the_culprit_is_found_in_about_log2_models(
    session: Session, make: Callable[..., Patch], case: Case, place: int
) -> None:
    patches = [make(seed, 1e-6) for seed in range(7)]
    patches.insert(place, make(101, 30.0))
    before = {name: tensor.clone() for name, tensor in session.model.state_dict().items()}
    with session.patched(*patches):
        found = blame(session, [case])
    (verdict,) = found.verdicts
    assert (verdict.status, verdict.patch, verdict.title) == ("broken", patches[place].patch_id, "p101")
    assert found.evaluations <= math.ceil(math.log2(len(patches))) + 3  # all, none, and all without the culprit
    assert all(torch.equal(tensor, before[name]) for name, tensor in session.model.state_dict().items())


def test_two_culprits_are_an_interaction_and_not_blamed_on_one(
    session: Session, make: Callable[..., Patch], case: Case
) -> None:
    loud, other = make(101, 30.0), make(102, 30.0)
    patches = [make(1, 1e-6), loud, make(2, 1e-6), make(101, -30.0), make(3, 1e-6), other]
    with session.patched(*patches):
        (verdict,) = blame(session, [case]).verdicts
    assert verdict.status in ("interaction", "broken")
    if verdict.status == "broken":  # then it is true of this one alone
        with session.patched(*[patch for patch in patches if patch.patch_id != verdict.patch]):
            assert holds(session, case)


def test_both_loud_patches_alone_cannot_be_told_apart(session: Session, make: Callable[..., Patch], case: Case) -> None:
    loud = [make(101, 30.0), make(101, 29.0, title="again")]
    with session.patched(*loud):
        (verdict,) = blame(session, [case]).verdicts
    assert (verdict.status, verdict.patch) == ("interaction", loud[0].patch_id)


def test_what_holds_and_what_never_held(session: Session, make: Callable[..., Patch], case: Case) -> None:
    never = Case(EditRequest("{} is", "Ada", "quite impossible to say", id="never"))
    with session.patched(make(1, 1e-6)):
        found = blame(session, [case, never])
    assert [verdict.status for verdict in found.verdicts] == ["holds", "never held"]
    assert found.evaluations == 2


def test_a_fact_that_only_its_own_patch_made_true(session: Session, make: Callable[..., Patch], case: Case) -> None:
    prompt, subject = case.request.prompt, case.request.subject
    for seed in range(103, 140):  # what the model says under a loud patch is what the patch was made for
        with session.patched(make(seed, 30.0)):
            said = session.generate(case.request.rendered().text, 1)
            told = Case(EditRequest(prompt, subject, said if said.strip() else "?", id="t", target_prefix="none"))
            made_true = holds(session, told)
        if made_true and not holds(session, told):
            break
    else:
        raise AssertionError("no loud patch makes the tiny model say what can be asked for")
    row = {"id": "1", "prompt": prompt, "subject": subject, "target_new": said, "target_prefix": "none"}
    edit, undo = make(seed, 30.0, requests=[row]), make(-seed, -30.0)
    with session.patched(make(1, 1e-6), edit, make(2, 1e-6), undo):
        (own,) = own_cases(session)
        (verdict,) = blame(session, [own]).verdicts
    assert own.request.id == f"{edit.patch_id[:12]}/1"
    assert (verdict.status, verdict.patch) == ("broken", undo.patch_id)
