"""The deltas of one tensor from several patches, made one. Exact wherever a form of the format can say it."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from attrs import frozen

from editcore.patches.arithmetic.factoring import factorise, truncate
from editcore.patches.forms.deltas import Delta, StoredUpdate, whole
from editcore.patches.forms.dense import DENSE
from editcore.patches.forms.form import Parts, Shape
from editcore.patches.forms.low_rank import LOW_RANK
from editcore.patches.forms.table import SPELLINGS
from editcore.storage.canonical import is_negative_zero
from editcore_hooks import EditcoreError

ROUNDING: Final = 2.0**-53
"""Largest loss of one more addition in float64, relative to its result."""


@frozen
class Step:
    """One summand of a target in the order of the arithmetic: the patch that it first came from, and its delta."""

    patch_id: str
    delta: Delta


@frozen
class Combined:
    """One update in place of the steps. `exact`: every base gets the bits that the steps give it. `residual` is
    relative to the Frobenius norm of the exact sum."""

    update: StoredUpdate
    groups: tuple[Mapping[str, Any], ...] = ()
    residual: float = 0.0
    exact: bool = True


def combine(steps: Sequence[Step], shape: Shape, max_rank: int | None = None) -> Combined:
    """The sum of `steps`. With `max_rank` no more than so many factors, as far as factors are smaller than a matrix."""
    deltas = [step.delta for step in steps]
    form, alike = deltas[0].form, len({delta.form for delta in deltas}) == 1
    if alike and form.factored:
        # As many factors as the format takes: a dense sum that keeps the bits takes float64, and is never smaller.
        if sum(delta.rank for delta in deltas) <= min(*shape, max_rank or min(shape)):
            return _side_by_side(steps)
        if max_rank is not None and _factors_are_smaller(shape, max_rank):
            return _of_factors(truncate(*whole(deltas).with_scale().factors, max_rank))
    elif len(steps) == 1 and not (max_rank and form.full):
        return _alone(deltas[0])
    elif alike and (parts := form.joined([delta.with_scale().parts for delta in deltas])) is not None:
        return Combined(StoredUpdate(form, _stored_parts(parts)), residual=(len(steps) - 1) * ROUNDING, exact=False)
    total = dense_sum(deltas, shape)
    if all(delta.form.placed for delta in deltas):
        update = smallest(total)
    elif max_rank is not None and len(shape) == 2 and _factors_are_smaller(shape, max_rank):
        return _of_factors(factorise(total, 0.0, max_rank))
    else:
        update = StoredUpdate(DENSE, {"delta": stored(total)})
    return Combined(update, residual=(len(steps) - 1) * ROUNDING, exact=len(steps) == 1)


def dense_sum(deltas: Sequence[Delta], shape: Shape) -> torch.Tensor:
    """Σ scale · δ in float64, of the target's shape. Raises `EditcoreError` when this machine cannot hold that."""
    _require_memory(8 * math.prod(shape), shape)
    rows, columns = torch.Size(shape).numel() // shape[-1], shape[-1]
    if len(shape) == 1:
        rows, columns = columns, 1
    total = torch.zeros(rows, columns, dtype=torch.float64)
    for delta in deltas:
        total += delta.scale * delta.block(0, rows, columns)
    return total.reshape(shape)


def smallest(total: torch.Tensor) -> StoredUpdate:
    """The smallest spelling without factors of a delta in float64: `sparse`, `rows` or `dense`."""
    values = stored(total)
    sizes = {form: size for form in SPELLINGS if (size := form.size_of(total, values)) is not None}
    form = min(sizes, key=lambda form: sizes[form])
    return StoredUpdate(form, form.spelled(total, values))


def stored(values: torch.Tensor) -> torch.Tensor:
    """Float64 values in float32 where that holds every one of them, as they are where it does not."""
    narrow = values.float()
    return narrow if bool((narrow.double() == values).all()) else values


def _require_memory(needed: int, shape: Shape) -> None:
    # A patch of a few bytes can claim any shape, and no base is here to contradict it.
    present = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > present:
        raise EditcoreError(
            f"a sum of shape {shape} needs {needed / 2**30:.0f} GB of memory, this machine has {present / 2**30:.0f}",
            hint="apply the patches one by one instead",
        )


def _side_by_side(steps: Sequence[Step]) -> Combined:
    form = steps[0].delta.form
    parts = form.joined([step.delta.parts for step in steps])
    assert parts is not None  # factors always can
    groups = tuple({"patch_id": step.patch_id, "rank": step.delta.rank, "scale": step.delta.scale} for step in steps)
    # -1 times 0 is -0, which a manifest cannot hold: it is written as 0, and the sign of a zero may differ.
    exact = not any(is_negative_zero(step.delta.scale) for step in steps)
    return Combined(StoredUpdate(form, parts), groups, exact=exact)


def _alone(delta: Delta) -> Combined:
    parts = delta.parts if delta.scale == 1.0 else _stored_parts(delta.with_scale().parts)
    # A negative scale also turns the zeros around what is stored, which can decide the sign of a zero in the result.
    return Combined(StoredUpdate(delta.form, parts), exact=delta.scale > 0 or delta.form.full)


def _stored_parts(parts: Parts) -> Parts:
    return {name: stored(part) if part.is_floating_point() else part for name, part in parts.items()}


def _factors_are_smaller(shape: Shape, rank: int) -> bool:
    return rank * sum(shape) < shape[0] * shape[1]


def _of_factors(factors: Any) -> Combined:
    update = StoredUpdate(LOW_RANK, {"left": factors.left, "right": factors.right})
    return Combined(update, residual=factors.residual, exact=False)
