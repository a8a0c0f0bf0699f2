"""Many edits on one model at once: each row of a batch runs with updates of its own, y += a (b x), or y += D x.

The weights are not touched, so taking the edits off is free. What a row sees of a low-rank update is the edit before it
is rounded to the dtype of the weights; a dense one may be the difference of weights that were rounded.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from attrs import field, frozen
from torch import Tensor

from editcore.models.running.tracing import Place, Tap, Trace
from editcore_hooks import Anatomy, Dense, LowRank, Site


@frozen(eq=False)
class Branches:
    """Low-rank updates of E edits by site: `out` (E, d_out, r) and `in_` (E, r, d_in), zero where an edit spares a
    site; `dense` has those of a site by edit, (d_out, d_in) each."""

    anatomy: Anatomy
    factors: Mapping[Site, tuple[Tensor, Tensor]]
    dense: Mapping[Site, Mapping[int, Tensor]] = field(factory=dict)

    @classmethod
    def of(cls, anatomy: Anatomy, updates: Sequence[Mapping[Site, LowRank | Dense]]) -> "Branches":
        factors, dense = {}, {}
        for site in dict.fromkeys(site for update in updates for site in update):
            device = anatomy.weight(site).device
            at_site = {e: update[site] for e, update in enumerate(updates) if site in update}
            low_rank = {e: each for e, each in at_site.items() if isinstance(each, LowRank)}
            dense[site] = {e: each.delta.to(device) for e, each in at_site.items() if isinstance(each, Dense)}
            if low_rank:
                factors[site] = _side_by_side(len(updates), low_rank, device)
        return cls(anatomy, factors, {site: each for site, each in dense.items() if each})

    def on(self, owner: Tensor) -> Trace:
        """Inside it, row i of a batch runs with the edit `owner[i]`, (B,)."""
        taps: dict[Place, Tap] = {}
        for site in dict.fromkeys((*self.factors, *self.dense)):
            out, in_ = self.factors.get(site, (None, None))
            low_rank = (out[owner], in_[owner]) if out is not None and in_ is not None else None
            taps[site] = Tap(mix=_branch(low_rank, self._of_rows(site, owner)))
        return Trace(self.anatomy, taps)

    def _of_rows(self, site: Site, owner: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The rows of each edit with a dense update at the site, and the update: nothing is copied for a row."""
        owned = self.dense.get(site, {})
        return [((owner == e).nonzero()[:, 0], owned[e]) for e in sorted(set(owner.tolist())) if e in owned]


def branch(anatomy: Anatomy, update: Mapping[Site, LowRank | Dense]) -> Trace:
    """Inside it every row of every batch runs with the one `update`."""
    taps: dict[Place, Tap] = {}
    for site, each in update.items():
        low_rank = (each.out, each.in_) if isinstance(each, LowRank) else None
        dense = [(None, each.delta)] if isinstance(each, Dense) else []
        taps[site] = Tap(mix=_branch(low_rank, dense))
    return Trace(anatomy, taps)


def _side_by_side(n: int, updates: Mapping[int, LowRank], device: torch.device) -> tuple[Tensor, Tensor]:
    first = next(iter(updates.values()))
    r = max(update.out.shape[1] for update in updates.values())
    out = torch.zeros(n, first.out.shape[0], r, device=device)
    in_ = torch.zeros(n, r, first.in_.shape[1], device=device)
    for e, update in updates.items():
        own = update.out.shape[1]
        out[e, :, :own], in_[e, :own] = update.out, update.in_
    return out, in_


def _branch(
    low_rank: tuple[Tensor, Tensor] | None, dense: Sequence[tuple[Tensor | None, Tensor]]
) -> Callable[[Tensor, Tensor], Tensor]:
    def add(x: Tensor, y: Tensor) -> Tensor:  # (B, T, d_in), (B, T, d_out)
        if low_rank is not None:
            out, in_ = low_rank
            y = y + (x.to(in_.dtype) @ in_.mT @ out.mT).to(y.dtype)
        for rows, delta in dense:  # None: every row
            if rows is None:
                y = y + (x.to(delta.dtype) @ delta.mT).to(y.dtype)
                continue
            y = y.index_add(0, rows, (x[rows].to(delta.dtype) @ delta.mT).to(y.dtype))
        return y

    return add
