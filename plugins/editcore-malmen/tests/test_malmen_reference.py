"""MALMEN written plainly from the maths: dense normal equations, and one graph through nets, solve and model.

The plugin must give its changes, and its two phases the gradients of that one graph.
"""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import editcore
from editcore import EditOptions
from editcore.authoring.models import branch
from editcore.testing.training import opened, shortly_trained, taught_cases
from editcore_hooks import Dense, LowRank, Site
from editcore_malmen.hparams import MalmenHparams
from editcore_malmen.keys import keys_of
from editcore_malmen.learner import MalmenLearner
from editcore_malmen.nets import Residuals
from editcore_malmen.solve import solve
from editcore_mend.losses import edit_loss, locality_loss
from editcore_mend.nets import sites_of

SETTINGS: dict[str, Any] = {"rank": 16, "edit_lr": 2e-3, "layers": [1, 2]}
SITES = (Site("mlp_out", 1), Site("mlp_out", 2))
HPARAMS = MalmenHparams(rank=16, edit_lr=2e-3)


@pytest.fixture(params=["gpt2", "llama"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> editcore.Session:
    return opened(request.getfixturevalue(f"{request.param}_folder"), tmp_path / "assets")


@pytest.fixture
def learner(session: editcore.Session) -> MalmenLearner:
    made = MalmenLearner(session, HPARAMS, SITES)
    made.prepare(taught_cases())
    with torch.no_grad():
        for name, parameter in made.nets.named_parameters():
            if name.endswith(".u"):  # away from the identity
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.05)
    return made


def plain(keys: Tensor, residuals: Tensor, ridge: float | Tensor) -> Tensor:
    """ΔW (d_out, d_in) by the normal equations of the matrix."""
    k, d = keys.double(), residuals.double()
    system = k.T @ k + ridge * torch.eye(k.shape[1], dtype=torch.float64)
    return torch.linalg.solve(system, k.T @ d).T.float()


@pytest.mark.parametrize("n", [1, 5, 11, 12, 40])
def test_both_forms_solve_the_same_system(n: int) -> None:
    torch.manual_seed(n)
    keys, residuals = torch.randn(n, 12), torch.randn(n, 7)
    found = solve(keys, residuals, 0.3)
    assert isinstance(found.update(), LowRank if n < 12 else Dense)
    torch.testing.assert_close(_dense(found.update()), plain(keys, residuals, 0.3), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [5, 40])
def test_gradients_through_the_solve_are_those_of_autograd(n: int) -> None:
    torch.manual_seed(n)
    keys, residuals, of_delta = torch.randn(n, 12), torch.randn(n, 7, requires_grad=True), torch.randn(7, 12)
    log_ridge = torch.tensor(-0.5, requires_grad=True)
    (plain(keys, residuals, log_ridge.exp()) * of_delta).sum().backward()
    found = solve(keys, residuals.detach(), float(log_ridge.exp()))
    leaf = found.unknown.clone().requires_grad_()
    (_dense(found.update(leaf)) * of_delta).sum().backward()
    of_residuals, of_lambda = found.gradients(leaf.grad)
    torch.testing.assert_close(of_residuals, residuals.grad, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(of_lambda, log_ridge.grad, rtol=1e-3, atol=1e-5)


def test_two_phases_give_the_gradients_of_one_graph(learner: MalmenLearner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that do not divide the texts or keys, as in published code where sums went wrong."""
    monkeypatch.setattr("editcore_malmen.learner.ITEMS", 3)
    monkeypatch.setattr("editcore_malmen.learner.ROWS", 4)
    cases = taught_cases()[:7]
    losses = learner.add_gradients(cases, 0.5, random.Random(0))
    found = {name: p.grad.clone() for name, p in learner.nets.named_parameters() if p.grad is not None}
    learner.nets.zero_grad()

    episode = learner.reader.episode(cases, random.Random(0), HPARAMS.local)
    updates = {}
    for number, (site, (u, delta)) in enumerate(learner.keys(episode.edits).items()):
        residuals = learner.nets.residuals(site, u, delta)
        updates[site] = Dense(plain(u, residuals, learner.nets.log_ridge[number].exp()))
    anatomy = learner.session.anatomy
    edit = edit_loss(anatomy, episode.outer, SITES, branch(anatomy, updates)).loss.mean()
    local = locality_loss(anatomy, episode.local, SITES, branch(anatomy, updates)).loss.mean()
    (0.5 * (HPARAMS.c_edit * edit + HPARAMS.c_loc * local)).backward()
    assert losses["edit loss"] == pytest.approx(float(edit.detach()), rel=1e-3)
    assert losses["locality loss"] == pytest.approx(float(local.detach()), rel=1e-2)
    wanted = {name: p.grad for name, p in learner.nets.named_parameters() if p.grad is not None}
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert float((found[name] - gradient).norm()) <= 0.01 * float(gradient.norm()) + 1e-7, name


def test_the_patch_is_that_of_plain_malmen(session: editcore.Session) -> None:
    asset = shortly_trained(session, "malmen", **SETTINGS)
    s, tensors = asset.parameters["settings"], session.assets.load(asset)
    sites = sites_of(s)
    nets = Residuals(
        {site: tuple(session.anatomy.weight(site).shape) for site in sites}, s["rank"], s["blocks"], s["edit_lr"], 1.0
    )
    nets.load_state_dict(tensors)
    requests = [case.request for case in taught_cases()[:5]]
    rows = [session.encode(request) for request in requests]
    each = keys_of(session.anatomy, [(row.prompt_ids, row.target_ids) for row in rows], sites, "answer")
    patch = session.edit_all(requests, EditOptions("malmen"), measured=False)
    before = {site: session.anatomy.weight(site).clone() for site in sites}
    for number, site in enumerate(sites):
        u, delta = (torch.cat([one[site][i] for one in each]) for i in (0, 1))
        assert len(u) == sum(len(row.target_ids) for row in rows)  # the tokens that predict the targets
        wanted = []
        for key, gradient in zip(u, delta, strict=True):
            new_key, new_delta = nets.transformed(site, key, gradient)
            wanted.append(-s["edit_lr"] * tensors["step"][number] * (key @ new_key) * new_delta)
        change = plain(u, torch.stack(wanted).detach(), float(tensors["log_ridge"][number].exp()))
        with session.patched(patch):
            found = session.anatomy.weight(site) - before[site]
        assert float((found - change).norm() / change.norm()) < 5e-3


def _dense(update: LowRank | Dense) -> Tensor:
    return update.delta if isinstance(update, Dense) else update.out @ update.in_
