"""MEND on T5: matrices of encoder and decoder, with the gradient of transformers' own loss, which shifts the labels."""

from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
from editcore import EditOptions, EditRequest
from editcore.testing.tiny import tiny_model
from editcore.testing.training import opened, shortly_trained
from editcore_hooks import Site
from editcore_mend.factors import factors
from editcore_mend.nets import sites_of

REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The capital of {} is", "France", "Tokyo", id="2"),
]
SETTINGS: dict[str, Any] = {"rank": 16, "edit_lr": 3e-3, "lr": 3e-3, "layers": [1]}


@pytest.fixture(params=["t5", "t5_gated"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> editcore.Session:
    return opened(tiny_model(request.param, tmp_path / "model"), tmp_path / "assets")


def test_the_factors_multiply_to_the_gradients_of_both_stacks(session: editcore.Session) -> None:
    sites = [Site("mlp_out", 1, stack) for stack in ("encoder", "decoder")]
    rows = [session.encode(request) for request in REQUESTS]
    found, losses = factors(session.anatomy, [(row.prompt_ids, row.target_ids) for row in rows], sites)
    for i, request in enumerate(REQUESTS):
        x = torch.tensor([session.tokenizer(request.rendered().text)["input_ids"]])
        y = torch.tensor([session.tokenizer(request.target_new)["input_ids"]])  # ends in </s>
        weights = [session.anatomy.parameter(site)[1].requires_grad_() for site in sites]
        loss = session.model(input_ids=x, labels=y).loss
        gradients = torch.autograd.grad(loss, weights)
        session.model.requires_grad_(False)
        assert float(losses[i]) == pytest.approx(float(loss.detach()), rel=1e-4)
        for site, dense in zip(sites, gradients, strict=True):
            u, delta = found[site].of(i)
            assert float((delta.T @ u - dense).norm() / dense.norm()) < 1e-3


def test_an_editor_is_trained_for_both_stacks_and_used(session: editcore.Session) -> None:
    asset = shortly_trained(session, "mend", **SETTINGS)
    assert {site.stack for site in sites_of(asset.parameters["settings"])} == {"encoder", "decoder"}
    patch = session.edit_all(REQUESTS, EditOptions("mend"))
    asked = [(r.rendered().text, r.target_new, None, "auto") for r in REQUESTS]
    before = [score.sum for score in session.score_targets(asked)]  # type: ignore[arg-type]
    with session.patched(patch):
        after = [score.sum for score in session.score_targets(asked)]  # type: ignore[arg-type]
    assert all(new > old for new, old in zip(after, before, strict=True))
