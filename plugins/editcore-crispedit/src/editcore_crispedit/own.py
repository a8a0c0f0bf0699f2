"""Keys and output gradients of the edits themselves: each patch keeps its own, and later edits add them to A and B.

    A ← (n A + ω K Kᵀ) / (n + ω m)    B ← (n B + ω G Gᵀ) / (n + ω m)

K (f, m) and G (d, m) of the m positions of the edits' texts that have a next token, on the model with the edit; n the
positions of A and of B; ω `history_weight`. With ω = 1 these are the moments of all texts together.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import frozen
from torch import Tensor
from torch.nn.functional import cross_entropy

from editcore.authoring.models import Item, Place, Tap, Trace, target_logits
from editcore_ft.weights import Copies
from editcore_hooks import EditRequest, Site

if TYPE_CHECKING:
    from editcore_hooks import Session

TOGETHER: Final = 16
"""Texts of one forward."""


@frozen(eq=False)
class Own:
    """Of one layer: columns (f, r) whose products sum to those of the m keys, (d, r) the same of gradients, and m."""

    keys: Tensor
    gradients: Tensor
    count: int


def read(session: "Session", copies: Copies, sites: Sequence[Site], requests: Sequence[EditRequest]) -> dict[int, Own]:
    """Those of `requests` on the model with the trained copies, by layer."""
    texts = sorted({session.encode(request).ids for request in requests}, key=lambda ids: (len(ids), ids))
    items: list[Item] = [(ids[:1], ids[1:]) for ids in texts if len(ids) > 1]
    keys: dict[Site, list[Tensor]] = {site: [] for site in sites}
    gradients: dict[Site, list[Tensor]] = {site: [] for site in sites}
    taps: dict[Place, Tap] = {site: Tap(input=True, output=True) for site in sites}
    for start in range(0, len(items), TOGETHER):
        some = items[start : start + TOGETHER]
        with torch.enable_grad(), Trace(session.anatomy, taps, detach=False) as trace:
            found = copies.run(partial(target_logits, session.model, some))
            loss = cross_entropy(found.logits.float(), found.labels, reduction="sum")
            slopes = torch.autograd.grad(loss, [trace.output(site) for site in sites])  # (B, T, d) each
        rows, columns = _positions(some, loss.device)
        for site, slope in zip(sites, slopes, strict=True):
            keys[site].append(trace.input(site).detach()[rows, columns].float())  # (m, f)
            gradients[site].append(slope[rows, columns].float())  # (m, d)
    own: dict[int, Own] = {}
    for site in sites:
        assert site.layer is not None
        k, g = torch.cat(keys[site]).T, torch.cat(gradients[site]).T
        own[site.layer] = Own(fewer(k), fewer(g), k.shape[1])
    return own


def _positions(items: Sequence[Item], device: torch.device) -> tuple[Tensor, Tensor]:
    """Row and column of every position that has a next token: rows begin in column 0."""
    lengths = torch.tensor([len(rest) for _, rest in items])
    rows = torch.repeat_interleave(torch.arange(len(items)), lengths)
    return rows.to(device), torch.cat([torch.arange(n) for n in lengths.tolist()]).to(device)


def fewer(columns: Tensor) -> Tensor:
    """At most as many columns as rows, with the same products: X Xᵀ = V diag(λ) Vᵀ = (V √λ)(V √λ)ᵀ."""
    rows, many = columns.shape
    if many <= rows:
        return columns.contiguous()
    x = columns.double()
    values, vectors = torch.linalg.eigh(x @ x.T)
    found: Tensor = vectors * values.clamp(min=0).sqrt()
    return found.float().contiguous()


def increment(own: Mapping[int, Own]) -> dict[str, Tensor]:
    """The tensors that a patch keeps."""
    return {
        f"{name}.{layer}": tensor
        for layer, one in own.items()
        for name, tensor in (
            ("keys", one.keys),
            ("gradients", one.gradients),
            ("count", torch.tensor([float(one.count)])),
        )
    }


def folded(increments: Sequence[Mapping[str, Any]]) -> dict[int, Own]:
    """All of them together, by layer."""
    layers = sorted({int(name.partition(".")[2]) for each in increments for name in each})
    found = {}
    for layer in layers:
        having = [each for each in increments if f"keys.{layer}" in each]
        keys, gradients = (torch.cat([one[f"{name}.{layer}"] for one in having], 1) for name in ("keys", "gradients"))
        found[layer] = Own(keys, gradients, sum(int(one[f"count.{layer}"]) for one in having))
    return found


def merged(mean: Tensor, n: int, columns: Tensor, m: int, weight: float) -> Tensor:
    """(n mean + ω X Xᵀ) / (n + ω m) for `columns` X, float64."""
    x = columns.double()
    return (n * mean.double() + weight * (x @ x.T)) / (n + weight * m)
