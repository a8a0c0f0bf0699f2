"""The delta of one target as tensors: turned into stored orientation, checked, and asked through its form."""

from collections.abc import Iterable, Sequence
from typing import Final

import torch
from attrs import field, frozen

from editcore.patches.forms.form import Form, Parts, Shape
from editcore.patches.forms.support import Support
from editcore.patches.forms.table import FORMS, form_named
from editcore.storage.tensors import DTYPE_NAMES
from editcore_hooks import PluginError, RefusedFileError, TensorUpdate

LARGEST: Final = torch.finfo(torch.float32).max
"""Largest norm. A larger delta overflows the tensor it is added to; below it squares and products fit in float64."""


@frozen
class Delta:
    """`scale` times what the parts of `form` (or the name of one) describe, in the stored orientation of the tensor."""

    form: Form = field(converter=form_named)
    parts: Parts = field(eq=False)
    scale: float = 1.0

    def block(self, start: int, stop: int, columns: int) -> torch.Tensor:
        """Rows [start, stop) of the unscaled delta as float64 (stop - start, columns)."""
        return self.form.block(self.parts, start, stop, columns)

    @property
    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Left (rows, r) and right (r, columns) of the unscaled delta, whose form must be `factored`."""
        return self.form.factors(self.parts)

    @property
    def support(self) -> Support:
        """The places that the unscaled delta touches; its form must be `placed`."""
        return self.form.support(self.parts)

    @property
    def rank(self) -> int:
        """The number of factors, 0 where there are none."""
        return self.form.rank({name: tuple(part.shape) for name, part in self.parts.items()})

    def with_scale(self) -> "Delta":
        """The same with its scale in its parts, in float64."""
        return Delta(self.form, self.form.scaled(self.parts, self.scale))


def whole(deltas: Sequence[Delta]) -> Delta:
    """One delta that is the sum of `deltas`: itself, or the groups of a squashed target put side by side again.

    Raises `ValueError` for several of a form that cannot say their sum.
    """
    if len(deltas) == 1:
        return deltas[0]
    form = deltas[0].form
    joined = form.joined([delta.with_scale().parts for delta in deltas])
    if joined is None:
        raise ValueError(f"a sum of {form.name} deltas is not {form.name}")
    return Delta(form, joined)


def in_groups(delta: Delta, groups: Iterable[tuple[int, float]]) -> tuple[Delta, ...]:
    """`whole` undone: runs of the ranks of a delta of factors, each given by how many they are and by its scale."""
    deltas, start = [], 0
    for rank, scale in groups:
        factors = delta.form.ranks(delta.parts, start, start + rank)
        deltas.append(Delta(delta.form, factors, delta.scale * scale))
        start += rank
    return tuple(deltas)


def norm(delta: Delta, name: str = "a tensor") -> float:
    """Frobenius norm of the scaled delta, without forming a low-rank product.

    Raises `RefusedFileError` when it is over `LARGEST`, infinite or NaN: no other figure of the delta would mean
    anything then. `name` is that of its tensor.
    """
    size = abs(delta.scale) * delta.form.norm(delta.parts)
    if not size <= LARGEST:  # also where it is NaN
        raise RefusedFileError(f"the change of {name} overflows F32", hint="leave it out; its author must fix it")
    return size


@frozen
class StoredUpdate:
    """A tensor update in the orientation of the checkpoint's tensor: form (or its name) and parts as the patch file has
    them."""

    form: Form = field(converter=form_named)
    parts: Parts = field(eq=False)

    def fault(self, shape: Shape) -> str | None:
        described = {name: (DTYPE_NAMES[part.dtype], tuple(part.shape)) for name, part in self.parts.items()}
        return self.form.fault(shape, described) or self.form.value_fault(shape, self.parts)


def to_stored(update: TensorUpdate, transposed: bool) -> StoredUpdate:
    """Turn a canonical [out, in] update into stored orientation: as it is, or `transposed` for Conv1D's [in, out].

    Values become float32. Raises `PluginError` when a method hands over something else.
    """
    for form in FORMS.values():
        if form.update is not None and isinstance(update, form.update):
            return StoredUpdate(*form.of_update(update, transposed))
    raise PluginError(
        f"a tensor update is {type(update).__name__}, not LowRank, Dense, Sparse or Rows",
        hint="the method breaks the contract; report it to its author",
    )
