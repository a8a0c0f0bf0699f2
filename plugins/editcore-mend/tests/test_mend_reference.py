"""MEND written plainly from the maths: dense gradients by autograd, one token at a time, nets as loops over vectors.

The patches of the plugin must be its matrices. It reads the trained tensors from the asset and nothing else of ours.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import editcore
from editcore import EditOptions, EditRequest
from editcore.testing.training import opened, shortly_trained
from editcore_hooks import Site
from editcore_mend.factors import factors
from editcore_mend.nets import sites_of

SETTINGS: dict[str, Any] = {"rank": 16, "edit_lr": 5e-4, "lr": 3e-3, "layers": [1, 2]}
REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("The home of {} is in", "Bo Quist", "Oslo", id="2"),
    EditRequest("{} lives in", "Cleo Tolland", "Quito and Lima", id="3"),
]


@pytest.fixture(params=["gpt2", "llama"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> editcore.Session:
    return opened(request.getfixturevalue(f"{request.param}_folder"), tmp_path / "assets")


def loss_of(session: editcore.Session, model: Any, request: EditRequest) -> Tensor:
    """The mean NLL a target token, from one unpadded row."""
    row = session.encode(request)
    logits = model(input_ids=torch.tensor([row.ids])).logits[0]  # (T, V)
    picked = [logits[i - 1].log_softmax(-1)[row.ids[i]] for i in row.target]
    return -torch.stack(picked).mean()


def test_the_factors_multiply_to_the_dense_gradient(session: editcore.Session) -> None:
    sites = [Site(role, layer) for layer in (1, 3) for role in ("mlp_in", "mlp_out")]
    rows = [session.encode(request) for request in REQUESTS]
    found, losses = factors(session.anatomy, [(row.prompt_ids, row.target_ids) for row in rows], sites)
    model = copy.deepcopy(session.model).requires_grad_(True)
    for i, request in enumerate(REQUESTS):
        loss = loss_of(session, model, request)
        assert float(losses[i]) == pytest.approx(float(loss.detach()), rel=1e-4)
        model.zero_grad()
        loss.backward()
        for site in sites:
            name, _, transposed = session.anatomy.parameter(site)
            dense = model.get_parameter(name).grad
            dense = dense.T if transposed else dense
            u, delta = found[site].of(i)
            assert len(u) <= len(rows[i].ids)
            assert float((delta.T @ u - dense).norm() / dense.norm()) < 1e-3


def plain_update(
    session: editcore.Session, model: Any, sites: tuple[Site, ...], t: Mapping[str, Tensor], request: EditRequest
) -> dict[Site, Tensor]:
    """ΔW of each site, dense, token by token."""
    seen: dict[Site, list[Tensor]] = {}
    handles = []
    for site in sites:
        module = model.get_submodule(session.anatomy.path(site))

        def note(_: Any, args: Any, output: Tensor, site: Site = site) -> None:
            output.retain_grad()
            seen[site] = [args[0], output]

        handles.append(module.register_forward_hook(note))
    loss_of(session, model, request).backward()
    updates = {}
    shapes = {site: tuple(session.anatomy.weight(site).shape) for site in sites}
    for number, site in enumerate(sites):
        (x, y), (d_out, d_in) = seen[site], shapes[site]
        slot = [one for one in sites if shapes[one] == shapes[site]].index(site)
        net = {key.split(".", 2)[2]: value for key, value in t.items() if key.startswith(f"nets.{d_out}x{d_in}.")}
        total = torch.zeros(d_out, d_in)
        for u, delta in zip(x[0].detach(), y.grad[0], strict=True):
            if not (u.any() and delta.any()):
                continue
            h = (torch.cat([u, delta]) - net["normaliser.mean"]) / (net["normaliser.std"] + 1e-7)
            for k in range(2):
                inner = net["u"][k] @ (net["v"][k] @ h) + net["bias"][k]
                h = h + torch.relu(net["scale"][k, slot] * inner + net["shift"][k, slot])
            total -= session_rate(t, number) * torch.outer(h[d_in:], h[:d_in])
        updates[site] = total
    for handle in handles:
        handle.remove()
    return updates


def session_rate(t: Mapping[str, Tensor], number: int) -> float:
    return float(5e-4 * t["step"][number])


def test_the_patch_is_that_of_plain_mend(session: editcore.Session) -> None:
    asset = shortly_trained(session, "mend", **SETTINGS)
    tensors, sites = session.assets.load(asset), sites_of(asset.parameters["settings"])
    assert any(float(value.abs().max()) > 0 for name, value in tensors.items() if name.endswith(".u"))
    model = copy.deepcopy(session.model).requires_grad_(True)
    wanted: dict[Site, Tensor] = {}
    for request in REQUESTS:
        model.zero_grad()
        for site, delta in plain_update(session, model, sites, tensors, request).items():
            wanted[site] = wanted.get(site, torch.zeros_like(delta)) + delta
    patch = session.edit_all(REQUESTS, EditOptions("mend"), measured=False)
    before = {site: session.anatomy.weight(site).clone() for site in sites}
    assert len(patch.targets) == len(sites)
    assert all(target.form.name == "low_rank" for target in patch.targets.values())
    with session.patched(patch):
        for site in sites:
            found = session.anatomy.weight(site) - before[site]
            assert float((found - wanted[site]).norm() / wanted[site].norm()) < 5e-3
    ranks = patch.about["notes"][0]["ranks"]
    tokens = sum(len(session.encode(request).ids) for request in REQUESTS)
    assert set(ranks) == {str(site) for site in sites}
    assert all(0 < rank <= min(tokens, 64) for rank in ranks.values())
