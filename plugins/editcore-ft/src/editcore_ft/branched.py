"""Many edits trained at once, each alone: y = W x + Δₑ x in the rows of edit e.

The model is read once for all of them, where a single edit has too few tokens to fill its products. Losses are summed,
so that every gradient is that of a run alone, and Adam goes by entry; an edit that is done leaves the batch.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from editcore.authoring.models import Item, Place, Tap, TargetLogits, Trace, cached_logits
from editcore_ft.hparams import TrainingHparams
from editcore_ft.loop import Objective, Trained, diverged
from editcore_ft.weights import T, matrix
from editcore_hooks import Site

if TYPE_CHECKING:
    from editcore_hooks import Session

MOST_BYTES: Final = 2**30
"""Of deltas, gradients and Adam's two moments that are held at once."""


def fits(session: "Session", hparams: TrainingHparams) -> bool:
    """Whether edits trained at once are those trained alone.

    A rounded model sees W + Δ rounded, which a branch does not; decay and the other constraints need W.
    """
    own = hparams.constraint == "none" or (hparams.constraint == "linf" and hparams.anchor == "edit")
    return own and not hparams.weight_decay and session.model.dtype == torch.float32


def at_once(session: "Session", sites: Sequence[Site]) -> int:
    """How many edits are trained at once: as many as MOST_BYTES allows."""
    each = sum(matrix(session, site)[1].numel() for site in sites)
    return max(1, MOST_BYTES // (4 * 4 * each))


class Branched:
    """Δₑ of each edit and site, canonical (d_out, d_in), float32, zero at first."""

    def __init__(self, session: "Session", sites: Sequence[Site], edits: Sequence[int]) -> None:
        self._anatomy = session.anatomy
        self._kept: tuple[Any, Callable[[], TargetLogits]] | None = None
        self.norms = {site: float(matrix(session, site)[1].norm()) for site in sites}
        weights = {site: session.anatomy.weight(site) for site in sites}
        self.deltas = {
            e: {site: torch.zeros_like(weight).requires_grad_() for site, weight in weights.items()} for e in edits
        }
        self.sites = list(sites)

    def logits(self, items: Sequence[Item], owners: Sequence[int]) -> TargetLogits:
        key = (tuple(items), tuple(owners))
        if self._kept is None or self._kept[0] != key:
            self._kept = (key, cached_logits(self._anatomy, items, self.sites, owners, self._around))
        return self._kept[1]()

    def fresh_logits(self, items: Sequence[Item], owners: Sequence[int]) -> TargetLogits:
        return cached_logits(self._anatomy, items, self.sites, owners, self._around)()

    def run(self, work: Callable[[], T], owners: Sequence[int]) -> T:
        with self._around(owners):
            return work()

    def _around(self, owners: Sequence[int]) -> AbstractContextManager[Any]:
        """Row i of a batch runs with the delta of `owners[i]`."""
        rows = {e: [i for i, owner in enumerate(owners) if owner == e] for e in dict.fromkeys(owners)}
        taps: dict[Place, Tap] = {site: Tap(mix=self._adding(site, rows)) for site in self.sites}
        return Trace(self._anatomy, taps)

    def _adding(self, site: Site, rows: dict[int, list[int]]) -> Callable[[Tensor, Tensor], Tensor]:
        def add(x: Tensor, y: Tensor) -> Tensor:  # (B, T, d_in), (B, T, d_out)
            parts = [(torch.tensor(own, device=x.device), self.deltas[e][site]) for e, own in rows.items()]
            at = torch.cat([own for own, _ in parts])
            return y.index_add(0, at, torch.cat([x[own] @ delta.mT for own, delta in parts]))

        return add


def train_each_(
    weights: Branched,
    examples: Sequence[Any],
    hparams: TrainingHparams,
    objective: Objective[Any],
    advance: Callable[[int], None],
    clip: float | None = None,
) -> dict[int, Trained]:
    """`train_` of each example alone, all at once; by index. Raises `EditcoreError` when a loss is no longer finite."""
    adam = torch.optim.Adam([leaf for own in weights.deltas.values() for leaf in own.values()], lr=hparams.lr)
    losses: dict[int, list[float]] = {example.index: [] for example in examples}
    updates = dict.fromkeys(losses, 0)
    left = list(examples)
    for _ in range(hparams.steps):
        with torch.enable_grad():
            each = objective(left).each  # (E,)
            own = each.tolist()
            if not all(map(isfinite, own)):
                raise diverged(hparams)
            for example, loss in zip(left, own, strict=True):
                losses[example.index].append(loss)
            going = [i for i, loss in enumerate(own) if loss >= hparams.stop_loss]
            left = [left[i] for i in going]
            if going:
                _step(weights, [example.index for example in left], each[going].sum(), adam, hparams, clip)
                for example in left:
                    updates[example.index] += 1
        advance(1)
        if not left:
            break
    return {e: Trained(len(own), updates[e], tuple(own)) for e, own in losses.items()}


def _step(
    weights: Branched,
    edits: Sequence[int],
    loss: Tensor,
    adam: torch.optim.Optimizer,
    hparams: TrainingHparams,
    clip: float | None,
) -> None:
    """A step of the edits that go on; Adam passes over leaves without a gradient."""
    leaves = [leaf for e in edits for leaf in weights.deltas[e].values()]
    adam.zero_grad(set_to_none=True)
    for leaf, gradient in zip(leaves, torch.autograd.grad(loss, leaves), strict=True):
        leaf.grad = gradient if clip is None else gradient.clamp(-clip, clip)
    adam.step()
    if hparams.constraint == "linf":
        with torch.no_grad():
            for leaf in leaves:
                leaf.clamp_(-hparams.linf_radius, hparams.linf_radius)
