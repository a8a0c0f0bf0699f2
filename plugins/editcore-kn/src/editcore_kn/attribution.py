"""Integrated gradients of MLP units: how much of an answer's probability each unit accounts for.

Dai et al. 2022, arXiv:2104.08696, section 3.1. A unit is an input of the down projection, so that unit i goes with its
column i. Every row of a batch scales one layer's units by one α, at the token that says the answer; tokens before it
are the same in all rows and are run once, as are the blocks below the layer.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from editcore.authoring.models import Place, Recorded, Tap, Trace, pad, record
from editcore_hooks import Site

if TYPE_CHECKING:
    from editcore_hooks import Session


def attributions(
    session: "Session",
    prompt: Sequence[int],
    answer: Sequence[int],
    sites: Sequence[Site],
    steps: int,
    rows_per_batch: int,
) -> Tensor:
    """Attr (sites, f) of each unit, the mean over the tokens of `answer`, each after those before it; float32.

    Attrᵢ = aᵢ · 1/m Σₖ ∂P(αₖ)/∂(αₖ aᵢ) with αₖ = k/m for k = 0 … m − 1, where all units of the layer are scaled alike.
    """
    total = torch.zeros(len(sites), session.anatomy.mlp_width)
    for j, token in enumerate(answer):
        ids = [*prompt, *answer[:j]]
        taps: dict[Place, Tap] = {site: Tap(input=True) for site in sites}
        with Trace(session.anatomy, taps) as trace:
            recorded = record(session.anatomy, pad([ids]).to(session.device))
        for i, site in enumerate(sites):
            units = trace.input(site)[0, -1]  # (f,)
            total[i] += _of_layer(session, recorded, site, units, token, steps, rows_per_batch).cpu()
    return total / len(answer)


def _of_layer(
    session: "Session", recorded: Recorded, site: Site, units: Tensor, token: int, steps: int, rows_per_batch: int
) -> Tensor:
    assert site.layer is not None
    weight = session.anatomy.weight(site)  # (d, f)
    resumed = recorded.at(site.layer, recorded.batch.ids.shape[1] - 1)
    alphas = torch.arange(steps, device=units.device) / steps  # (m,)
    gradient = torch.zeros_like(units, dtype=torch.float32)
    for alpha in torch.split(alphas, rows_per_batch):  # type: ignore[no-untyped-call]
        rows = torch.arange(len(alpha), device=units.device)
        scaled = (alpha[:, None].to(units) * units).requires_grad_()  # (n, f)
        with torch.enable_grad():
            change = (scaled - units) @ weight.T  # (n, d): what the projection adds or leaves out, its bias aside
            with Trace(session.anatomy, {site: Tap(edit=_add(change))}):
                logits = resumed.rows(torch.zeros_like(rows)).forward((rows, torch.zeros_like(rows)))  # (n, V)
            probability = logits.float().softmax(-1)[:, token].sum()
        gradient += torch.autograd.grad(probability, scaled)[0].float().sum(0)
    return units.float() * gradient / steps


def _add(change: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda output: output + change[:, None]
