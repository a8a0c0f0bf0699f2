"""Every family that the core knows is trained by FT-M, and as by whole forwards of the model in which it is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
from editcore import EditOptions, EditRequest
from editcore.models.running.scoring import target_logits
from editcore.testing.tiny import FAMILIES, tiny_model
from editcore_hooks import Site

REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot in Rome", id="1"),
    EditRequest("The capital of {} is", "France", "Tokyo", id="2"),
]
LAYERS, LR = (1, 2), 5e-3


@pytest.fixture(params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tiny_model(request.param, tmp_path / "model")


def options(steps: int) -> EditOptions:
    return EditOptions("ft-m", hparams=(("test", {"layers": LAYERS, "lr": LR, "steps": steps, "eos": False}),))


def in_place(session: editcore.Session, requests: Sequence[EditRequest], steps: int) -> dict[str, Any]:
    """The changes of the weights, as stored, when they are trained where they are by whole forwards of every row."""
    weights = {session.anatomy.parameter(site)[0]: session.anatomy.parameter(site)[1] for site in sites()}
    start = {name: weight.detach().clone() for name, weight in weights.items()}
    adam = torch.optim.Adam([weight.requires_grad_() for weight in weights.values()], lr=LR)
    rows = [session.encode(request) for request in requests]
    for _ in range(steps):
        adam.zero_grad()
        found = [target_logits(session.model, [(row.prompt_ids, row.target_ids)]) for row in rows]
        torch.stack([torch.nn.functional.cross_entropy(one.logits, one.labels) for one in found]).mean().backward()
        adam.step()
    return {name: weight.detach() - start[name] for name, weight in weights.items()}


def sites() -> list[Site]:
    return [Site("mlp_out", layer) for layer in LAYERS]


def test_an_edit_makes_its_targets_likelier(folder: Path) -> None:
    session = editcore.open(folder)
    patch = session.edit_all(REQUESTS, options(steps=10))
    asked = [(r.rendered().text, r.target_new, None, "auto") for r in REQUESTS]
    before = [score.sum for score in session.score_targets(asked)]  # type: ignore[arg-type]
    with session.patched(patch):
        after = [score.sum for score in session.score_targets(asked)]  # type: ignore[arg-type]
    assert all(new > old + 0.5 for new, old in zip(after, before, strict=True))


def test_the_delta_is_that_of_whole_forwards(folder: Path) -> None:
    """What lies below the layers is run once by the method; rows are ragged, and steps follow each other."""
    patch = editcore.open(folder).edit_all(REQUESTS, options(steps=3))
    wanted = in_place(editcore.open(folder), REQUESTS, steps=3)
    deltas = [patch.tensors[f"{key}/delta"] for key in sorted(patch.targets)]
    for delta, expected in zip(deltas, (wanted[name] for name in sorted(wanted)), strict=True):
        assert float((delta - expected).norm() / expected.norm()) < 2e-3
