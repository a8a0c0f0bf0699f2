"""The deltas of one tensor from several patches, made one. Exact wherever a form of the format can say it."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from attrs import frozen

from editcore.patches.arithmetic.factoring import factorise, truncate
from editcore.patches.forms.deltas import Delta, StoredUpdate, whole
from editcore.patches.forms.table import Shape
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
    forms = {step.delta.form for step in steps}
    if forms == {"low_rank"}:
        rank = sum(step.delta.parts["left"].shape[1] for step in steps)
        # As many factors as the format takes: a dense sum that keeps the bits takes float64, and is never smaller.
        if rank <= min(*shape, max_rank or min(shape)):
            return _side_by_side(steps)
        if max_rank is not None and _factors_are_smaller(shape, max_rank):
            together = whole([step.delta for step in steps])
            left = together.parts["left"].double() * together.scale
            return _of_factors(truncate(left, together.parts["right"], max_rank))
    elif len(steps) == 1 and not (max_rank and forms == {"dense"}):
        return _alone(steps[0].delta)
    elif forms == {"rows"}:
        return _united_rows(steps)
    total = dense_sum([step.delta for step in steps], shape)
    if forms <= {"rows", "sparse"}:
        update = smallest(total)
    elif max_rank is not None and len(shape) == 2 and _factors_are_smaller(shape, max_rank):
        return _of_factors(factorise(total, 0.0, max_rank))
    else:
        update = StoredUpdate("dense", {"delta": stored(total)})
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
    dense = stored(total)
    if total.dim() != 2:
        return StoredUpdate("dense", {"delta": dense})
    size = dense.element_size()
    rows = (total != 0).any(dim=1).nonzero().squeeze(1)
    places = int((total != 0).sum())
    # Numbers of bytes: an index takes eight for each coordinate.
    cost = {
        "dense": size * total.numel(),
        "rows": (8 + size * total.shape[1]) * len(rows),
        "sparse": (16 + size) * places,
    }
    form = min(cost, key=lambda name: cost[name])
    if form == "rows":
        return StoredUpdate("rows", {"index": rows, "values": dense[rows]})
    if form == "sparse":
        index = (total != 0).nonzero().T.contiguous()
        return StoredUpdate("sparse", {"index": index, "values": dense[index[0], index[1]]})
    return StoredUpdate("dense", {"delta": dense})


def stored(values: torch.Tensor) -> torch.Tensor:
    """Float64 values in float32 where that holds every one of them, as they are where it does not."""
    narrow = values.float()
    return narrow if bool((narrow.double() == values).all()) else values


def _require_memory(needed: int, shape: Shape) -> None:
    # A patch of a few bytes can claim any shape, and no base is here to contradict it.
    present = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > present:
        raise EditcoreError(
            f"a sum of shape {shape} takes {needed / 2**30:.0f} GB of memory, of {present / 2**30:.0f} here",
            hint="apply the patches one by one instead",
        )


def _side_by_side(steps: Sequence[Step]) -> Combined:
    parts = {
        "left": torch.cat([step.delta.parts["left"] for step in steps], dim=1),  # (rows, Σr)
        "right": torch.cat([step.delta.parts["right"] for step in steps]),  # (Σr, columns)
    }
    groups = tuple(
        {"patch_id": step.patch_id, "rank": int(step.delta.parts["left"].shape[1]), "scale": step.delta.scale}
        for step in steps
    )
    # -1 times 0 is -0, which a manifest cannot hold: it is written as 0, and the sign of a zero may differ.
    exact = not any(is_negative_zero(step.delta.scale) for step in steps)
    return Combined(StoredUpdate("low_rank", parts), groups, exact=exact)


def _alone(delta: Delta) -> Combined:
    name = {"dense": "delta", "xor": "bits", "replace": "stored"}.get(delta.form, "values")
    values = delta.parts[name]
    if delta.scale != 1.0:
        values = stored(values.double() * delta.scale)
    # A negative scale also turns the zeros around what is stored, which can decide the sign of a zero in the result.
    exact = delta.scale > 0 or delta.form == "dense"
    return Combined(StoredUpdate(delta.form, {**delta.parts, name: values}), exact=exact)


def _united_rows(steps: Sequence[Step]) -> Combined:
    index = torch.cat([step.delta.parts["index"] for step in steps]).unique()  # type: ignore[no-untyped-call]
    total = torch.zeros(len(index), steps[0].delta.parts["values"].shape[1], dtype=torch.float64)
    for step in steps:
        at = torch.searchsorted(index, step.delta.parts["index"])
        total[at] += step.delta.scale * step.delta.parts["values"].double()
    update = StoredUpdate("rows", {"index": index, "values": stored(total)})
    return Combined(update, residual=(len(steps) - 1) * ROUNDING, exact=False)


def _factors_are_smaller(shape: Shape, rank: int) -> bool:
    return rank * sum(shape) < shape[0] * shape[1]


def _of_factors(factors: Any) -> Combined:
    update = StoredUpdate("low_rank", {"left": factors.left, "right": factors.right})
    return Combined(update, residual=factors.residual, exact=False)
