"""RECT: an edit keeps the entries that change most for their size; the rest, which pile up in a sequence, it drops.

Gu et al. 2024, arXiv:2401.04700, section 5: keep Δᵢⱼ where |Δᵢⱼ| / (|Wᵢⱼ| + 1e-8) is among the largest.
"""

from typing import TYPE_CHECKING, Final

from attrs import evolve
from torch import Tensor

from editcore_guards.dense import dense, require_tensors
from editcore_hooks import Dense, Site, Sparse, TensorUpdate, Update

if TYPE_CHECKING:
    from editcore_hooks import Session

EPSILON: Final = 1e-8
BYTES_DENSE: Final = 4
BYTES_SPARSE: Final = 20
"""Bytes of an entry in a patch file: a value, or two indices and a value."""


def rect(session: "Session", update: Update, keep: float) -> Update:
    """The update with the weakest entries of each tensor dropped; W is the weight that the edit was computed on."""
    require_tensors(update, "rect")
    tensors: dict[Site, TensorUpdate] = {}
    kept: dict[str, int] = {}
    for site, one in update.tensors.items():
        weight = session.anatomy.weight(site)  # (d, f)
        delta = masked(dense(one, weight.shape), weight.double().cpu(), keep)
        tensors[site] = smaller(delta)
        kept[str(site)] = int(delta.count_nonzero())
    return evolve(update, tensors=tensors, notes={**update.notes, "rect": kept})


def masked(delta: Tensor, weight: Tensor, keep: float) -> Tensor:
    """Δ where r = |Δ| / (|W| + ε) is at least the ⌊(1 − keep) N⌋-th smallest of its N entries, else 0."""
    ratio = delta.abs() / (weight.abs() + EPSILON)
    k = int((1 - keep) * ratio.numel() + 1e-6)  # (1 − 0.9) · 10 is a little less than one
    if k == 0:
        return delta
    return delta * (ratio >= ratio.flatten().kthvalue(k).values)


def smaller(delta: Tensor) -> Dense | Sparse:
    """The form that takes fewer bytes."""
    where = delta.nonzero().T  # (2, n)
    if where.shape[1] * BYTES_SPARSE >= delta.numel() * BYTES_DENSE:
        return Dense(delta)
    return Sparse(where, delta[where[0], where[1]])
