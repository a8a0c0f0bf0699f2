"""Bounds on differences between machines: the last bit of a float64 product is the hardware's."""

from collections.abc import Sequence
from typing import Final

import torch
from attrs import frozen

from editcore.patches.arithmetic.rebuilding import as_matrix, blocks
from editcore.patches.forms.deltas import Delta

_ROUNDING: Final = 2.0**-52
"""Largest difference of one float64 operation between machines, relative to its operands."""


@frozen
class Deviation:
    """`differing` elements of `total`, by `largest` at most; `beyond` of them by more than rounding can explain."""

    total: int
    differing: int
    beyond: int
    largest: float


def deviation(here: torch.Tensor, there: torch.Tensor, deltas: Sequence[Delta]) -> Deviation:
    """Compare two results of one base and `deltas`, both in the stored dtype.

    An element may differ by one unit in the last place of the dtype, and by what the float64 sums of low-rank products
    before the cast can differ, which shows where a sum nearly cancels. Forms that set bits leave no room.
    """
    exact = any(delta.form.exclusive for delta in deltas)
    one, other = as_matrix(here), as_matrix(there)
    differing = beyond = 0
    largest = 0.0
    for start, stop in blocks(one):
        a, b = one[start:stop].double(), other[start:stop].double()
        unequal = (a != b) & ~(a.isnan() & b.isnan())
        if not bool(unequal.any()):
            continue
        distance = (a - b).abs().nan_to_num(nan=torch.inf)
        allowed = _last_place(torch.maximum(a.abs(), b.abs()), here.dtype) + _of_products(a, deltas, start, stop)
        within = (distance <= allowed) & distance.isfinite() & (not exact)
        differing += int(unequal.sum())
        beyond += int((unequal & ~within).sum())
        largest = max(largest, float(distance[unequal].max()))
    return Deviation(here.numel(), differing, beyond, largest)


def _last_place(size: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The distance from numbers of this size to their neighbours in `dtype`."""
    info = torch.finfo(dtype)
    exponent = torch.frexp(size.clamp(min=info.smallest_normal, max=info.max)).exponent - 1
    return info.eps * torch.pow(torch.tensor(2.0, dtype=torch.float64), exponent.double())


def _of_products(result: torch.Tensor, deltas: Sequence[Delta], start: int, stop: int) -> torch.Tensor | float:
    """Largest change of sums over the rank in another order: r · 2⁻⁵² · Σ |left| |right|, and as much for each
    addition after it."""
    if not any(delta.form.factored for delta in deltas):
        return 0.0
    size, steps = result.abs().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0), len(deltas) + 1
    for delta in deltas:
        size = size + abs(delta.scale) * delta.form.magnitude(delta.parts, start, stop, result.shape[1])
        steps += delta.rank
    return _ROUNDING * steps * size
