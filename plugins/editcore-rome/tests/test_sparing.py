"""The other tokens of the prompt are left alone: the equation, the keys, and that the edit is what was found."""

from pathlib import Path

import pytest
import torch

import editcore
from editcore import EditOptions, EditRequest
from editcore.assets.store import AssetStore
from editcore.models.tokens.spans import encode_request
from editcore_hooks import Site
from editcore_keyvalue.alike import alike_keys
from editcore_keyvalue.cholesky import factor, solve
from editcore_rome.rank_one import rank_one
from editcore_rome.sparing import SOFTNESS, other_keys, spare

SITE = Site("mlp_out", 1)
REQUESTS = [
    EditRequest("{} lives in", "Ada Marlow", "Oslo", "Rome", id="1"),
    EditRequest("The home of {} is in the city of", "Bo Quist", "Lima", "Oslo", id="2"),
]


@pytest.fixture
def session(gpt2_folder: Path, tmp_path: Path) -> editcore.Session:
    return editcore.open(gpt2_folder, assets=AssetStore(tmp_path))


def test_u_solves_its_equation() -> None:
    generator = torch.Generator().manual_seed(0)
    k_all = torch.randn(200, 24, dtype=torch.float64, generator=generator)
    c, key, others = k_all.T @ k_all / 200, k_all[0], k_all[1:6]
    lower = factor(c, 0.0)
    u = spare(solve(lower, key), others, lower)
    epsilon = SOFTNESS * (others @ torch.linalg.inv(c) @ others.T).diagonal().mean()
    torch.testing.assert_close(u, torch.linalg.solve(c + others.T @ others / epsilon, key))
    torch.testing.assert_close(spare(u, others[:0], lower), u)


def test_a_key_that_stands_twice_does_not_blow_the_update_up() -> None:
    generator = torch.Generator().manual_seed(0)
    k_all = torch.randn(200, 24, dtype=torch.float64, generator=generator)
    c, key = k_all.T @ k_all / 200, k_all[0]
    lower = factor(c, 0.0)
    delta, weight = torch.ones(8, dtype=torch.float64), torch.zeros(8, 24)
    update = rank_one(key[None], delta, weight, lower, "r-rome", torch.stack([key, k_all[1]]))
    torch.testing.assert_close(torch.outer(update.lam, update.u) @ key, delta)
    alone = rank_one(key[None], delta, weight, lower, "r-rome", k_all[1:2])
    assert update.lam.norm() < 20 * alone.lam.norm()


def test_the_keys_are_those_of_every_other_token(session: editcore.Session) -> None:
    together = other_keys(session, REQUESTS, "subject_last", SITE)
    for request, keys in zip(REQUESTS, together, strict=True):
        (alone,) = other_keys(session, [request], "subject_last", SITE)
        torch.testing.assert_close(keys, alone, rtol=1e-4, atol=1e-5)
        assert len(keys) == len(encode_request(session.tokenizer, request).ids) - 2


def test_other_tokens_of_the_prompt_change_less_than_as_published(session: editcore.Session) -> None:
    others = other_keys(session, REQUESTS, "subject_last", SITE)
    change = {}
    for spared in (True, False):
        settings = {"layer": 1, "spare_prompt": spared, "mom2_tokens": 500, "context_count": 2, "mom2_ridge": 0.1}
        patches = session.edit_each(REQUESTS, EditOptions(hparams=(("test", settings),)))
        change[spared] = []
        for patch, keys in zip(patches, others, strict=True):
            before = session.anatomy.weight(SITE).double().clone()
            with session.patched(patch):
                delta = session.anatomy.weight(SITE).double() - before
            change[spared].append(float((keys @ delta.T).norm()))
    assert all(now < 0.5 * before for now, before in zip(change[True], change[False], strict=True))


def test_other_subjects_in_the_place_of_the_edited_one_change_less(session: editcore.Session) -> None:
    request = REQUESTS[1]
    keys = alike_keys(session, request, "subject_last", SITE, 20)
    change = {}
    for count in (20, 0):
        settings = {"layer": 1, "spare_alike": count, "mom2_tokens": 500, "context_count": 2, "mom2_ridge": 0.1}
        patch = session.edit_all([request], EditOptions(hparams=(("test", settings),)))
        before = session.anatomy.weight(SITE).double().clone()
        with session.patched(patch):
            change[count] = float((keys @ (session.anatomy.weight(SITE).double() - before).T).norm())
    assert change[20] < 0.5 * change[0]
