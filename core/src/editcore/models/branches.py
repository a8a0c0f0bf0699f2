"""Many edits on one model at once: each row of a batch runs with low-rank updates of its own, y += a (b x).

The weights are not touched, so taking the edits off is free. What a row sees is its edit before it is rounded to the
dtype of the weights.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from attrs import frozen
from torch import Tensor

from editcore.models.anatomy import Anatomy
from editcore.models.tracing import Place, Tap, Trace
from editcore_hooks import LowRank, Site


@frozen(eq=False)
class Branches:
    """Updates of E edits by site: `out` (E, d_out, r) and `in_` (E, r, d_in), zero where an edit spares a site."""

    anatomy: Anatomy
    factors: Mapping[Site, tuple[Tensor, Tensor]]

    @classmethod
    def of(cls, anatomy: Anatomy, updates: Sequence[Mapping[Site, LowRank]]) -> "Branches":
        factors = {}
        for site in dict.fromkeys(site for update in updates for site in update):
            like = anatomy.weight(site)  # (d_out, d_in)
            r = max(update[site].out.shape[1] for update in updates if site in update)
            out = torch.zeros(len(updates), like.shape[0], r, device=like.device)
            in_ = torch.zeros(len(updates), r, like.shape[1], device=like.device)
            for e, update in enumerate(updates):
                if site in update:
                    own = update[site].out.shape[1]
                    out[e, :, :own], in_[e, :own] = update[site].out, update[site].in_
            factors[site] = (out, in_)
        return cls(anatomy, factors)

    def on(self, owner: Tensor) -> Trace:
        """Inside it, row i of a batch runs with the edit `owner[i]`, (B,)."""
        taps: dict[Place, Tap] = {
            site: Tap(mix=_branch(out[owner], in_[owner])) for site, (out, in_) in self.factors.items()
        }
        return Trace(self.anatomy, taps)


def branch(anatomy: Anatomy, update: Mapping[Site, LowRank]) -> Trace:
    """Inside it every row of every batch runs with the one `update`."""
    taps: dict[Place, Tap] = {site: Tap(mix=_branch(each.out, each.in_)) for site, each in update.items()}
    return Trace(anatomy, taps)


def _branch(out: Tensor, in_: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    def add(x: Tensor, y: Tensor) -> Tensor:  # (B, T, d_in), (B, T, d_out)
        return y + (x.to(in_.dtype) @ in_.mT @ out.mT).to(y.dtype)

    return add
