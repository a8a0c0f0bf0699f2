"""Comparing tensors whose bits a patch sets: what is told of them without a base, and of the results with one."""

from collections.abc import Sequence

import torch
from attrs import frozen

from editcore.patches.arithmetic.rebuilding import rebuild
from editcore.patches.file.target import CoreTarget
from editcore.patches.forms.deltas import Delta, whole
from editcore.patches.forms.form import Form
from editcore.patches.forms.moved import MOVED


@frozen
class BitFigures:
    """Shares of elements, in [0, 1]: those to which a side gives other bits than the base has, and those that have
    other bits with `a` than with `b`. None: a side does not touch the tensor, or it takes the base to tell."""

    a: float | None
    b: float | None
    between: float | None


@frozen
class Changed:
    """One side's change of a tensor: its target in the manifest, which a folder has not, and the deltas in the order of
    the arithmetic."""

    target: CoreTarget | None
    deltas: Sequence[Delta]

    @property
    def form(self) -> Form:
        return self.deltas[0].form

    @property
    def exclusive(self) -> bool:
        return self.form.exclusive


def compare_bits(
    a: Changed | None, b: Changed | None, base: torch.Tensor | None
) -> tuple[Delta | None, Delta | None, BitFigures | None]:
    """The deltas to take figures of, and the text about bits where a side sets them (None where none does).

    With `base`, as stored, both sides are results less the base, so that all figures follow; without it a side that
    sets bits has no delta.
    """
    sides = (a, b)
    if not any(side is not None and side.exclusive for side in sides):
        one, two = (None if side is None else whole(side.deltas) for side in sides)
        return one, two, None
    if base is not None:
        results = [base if side is None else rebuild(base, side.deltas) for side in sides]
        shares = [None if side is None else differing(base, after) for side, after in zip(sides, results, strict=True)]
        between = differing(*results) if a is not None and b is not None else None
        one, two = (None if side is None else moved(base, after) for side, after in zip(sides, results, strict=True))
        return one, two, BitFigures(shares[0], shares[1], between)
    one, two = (None if side is None or side.exclusive else whole(side.deltas) for side in sides)
    return one, two, BitFigures(_changed(a), _changed(b), _between(a, b))


def moved(before: torch.Tensor, after: torch.Tensor) -> Delta | None:
    """Stored bits after minus before, of one dtype; None if they are equal. No tensor is made."""
    return None if torch.equal(before, after) else Delta(MOVED, {"after": after, "before": before})


def differing(one: torch.Tensor, other: torch.Tensor) -> float:
    """The share of elements whose bits differ, of two tensors of one dtype and shape."""
    size = one.element_size()
    unequal = one.contiguous().view(torch.uint8) != other.contiguous().view(torch.uint8)
    return float(unequal.reshape(-1, size).any(dim=1).double().mean())


def _changed(side: Changed | None) -> float | None:
    """Told where the form tells it without a base."""
    bits = None if side is None else side.form.changed(side.deltas[0].parts)
    return None if bits is None else differing(bits, torch.zeros_like(bits))


def _between(a: Changed | None, b: Changed | None) -> float | None:
    """Told of two of one form and dtype, and on one base where bits mean nothing without it."""
    if a is None or b is None or a.form is not b.form or not a.exclusive or a.target is None or b.target is None:
        return None
    if a.target.base_dtype != b.target.base_dtype:
        return None
    if a.form.needs_base and a.target.base_sha256 != b.target.base_sha256:
        return None
    (one,), (other,) = a.deltas[0].parts.values(), b.deltas[0].parts.values()
    return differing(one, other)
