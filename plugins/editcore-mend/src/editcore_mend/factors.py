"""The gradient of a fact as factors: the inputs u of an edited matrix and the gradients δ of its outputs.

∂L/∂W = Σ_t δ_t u_tᵀ over the tokens t of a request: no matrix of the size of W is made. Mitchell et al. 2022
(arXiv:2110.11309), section 3.1.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Item, Place, Tap, TargetLogits, Trace, cached_logits
from editcore_hooks import Anatomy, EditcoreError, Site

SCALES: Final = (2.0**14, 2.0**8, 1.0)
"""Factors of the loss in float16, the largest first whose gradients are finite: small ones would become zero."""


@frozen(eq=False)
class Factors:
    """Of R rows with up to T tokens at one site, float32: `u` (R, T, d_in), `delta` (R, T, d_out), `kept` (R, T).

    Rows and columns that are not kept are zero: padding, and tokens without a gradient.
    """

    u: Tensor
    delta: Tensor
    kept: Tensor

    def of(self, row: int) -> tuple[Tensor, Tensor]:
        """u (N, d_in) and δ (N, d_out) of the N tokens of a row that are kept."""
        at = self.kept[row]
        return self.u[row, at], self.delta[row, at]


def factors(anatomy: Anatomy, items: Sequence[Item], sites: Sequence[Site]) -> tuple[dict[Site, Factors], Tensor]:
    """The factors of the loss of each item, and the losses (R,): the mean NLL a target token, each item by itself.

    One forward and one backward, both above the lowest site alone. Raises `EditcoreError` when a gradient is not
    finite.
    """
    run = cached_logits(anatomy, items, sites, range(len(items)))
    half = next(anatomy.model.parameters()).dtype == torch.float16
    for scale in SCALES if half else (1.0,):
        found, losses = _factors(anatomy, run, sites, len(items), scale)
        if all(bool(torch.isfinite(one.delta).all()) for one in found.values()):
            return found, losses
    raise EditcoreError(
        "a gradient of the request is not finite", hint="open the model in float32 or bfloat16: --dtype float32"
    )


def _factors(
    anatomy: Anatomy, run: Callable[[], TargetLogits], sites: Sequence[Site], n: int, scale: float
) -> tuple[dict[Site, Factors], Tensor]:
    leaves: dict[Site, Tensor] = {}

    def leaf_at(site: Site) -> Callable[[Tensor], Tensor]:
        def add(y: Tensor) -> Tensor:  # (R, T, d_out): the gradient of a zero that is added to y is that of y
            leaves[site] = torch.zeros_like(y, requires_grad=True)
            return y + leaves[site]

        return add

    taps: dict[Place, Tap] = {site: Tap(input=True, edit=leaf_at(site)) for site in sites}
    with torch.enable_grad(), Trace(anatomy, taps) as trace:
        losses = mean_nll(run(), n)
        gradients = torch.autograd.grad(losses.sum() * scale, [leaves[site] for site in sites])
    found = {}
    for site, gradient in zip(sites, gradients, strict=True):
        u, delta = trace.input(site).float(), gradient.float() / scale
        kept = (u != 0).any(-1) & (delta != 0).any(-1)  # (R, T)
        found[site] = Factors(u * kept[..., None], delta * kept[..., None], kept)
    return found, losses.detach()


def mean_nll(found: TargetLogits, n: int) -> Tensor:
    """−log p of the labels, the mean over the tokens of each of `n` items, (n,), float32."""
    logprobs = found.logits.float().log_softmax(-1)  # (N, V)
    picked = logprobs.gather(1, found.labels[:, None])[:, 0]  # (N,)
    zeros = torch.zeros(n, device=picked.device)
    counts = zeros.index_add(0, found.item, torch.ones_like(picked))
    return zeros.index_add(0, found.item, -picked) / counts


def by_site(sites: Sequence[Site], values: Mapping[Site, Factors], row: int) -> dict[Site, tuple[Tensor, Tensor]]:
    """u and δ of one row at every site."""
    return {site: values[site].of(row) for site in sites}
