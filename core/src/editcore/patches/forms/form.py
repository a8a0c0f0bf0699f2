"""The interface of a form: which parts it has, what is wrong with them, and what they do to a tensor.

Each form is one class in a file of its own beside this one, and `table` names them all. Nobody outside this folder asks
which form it is: they ask one of the questions below. What a manifest alone tells needs no torch.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from editcore.patches.forms.support import Support
from editcore_hooks import ConflictError, TensorUpdate

if TYPE_CHECKING:
    import torch

Shape = tuple[int, ...]
Parts = Mapping[str, "torch.Tensor"]
Dtypes = Mapping[str, tuple[str, ...]]

FLOATS: Final = ("F32", "F16", "BF16", "F64")
"""Stored dtypes that take a weight patch."""

MAX_ELEMENTS: Final = 2**40
"""A thousand times the largest tensor there is; a few bytes of `sparse` can claim any."""


class Form(ABC):
    """Describe a change of a tensor by the parts of a target; the parts are in its stored orientation.

    A form is exactly one of four things: `exclusive`, `factored`, `placed`, or `full`.
    """

    name: ClassVar[str]
    dtypes: ClassVar[Dtypes]
    """Its parts by name, with the stored dtypes that each may have."""
    update: ClassVar[type | None] = None
    """The class of `editcore_hooks` in which a method hands over such a delta; None: no method does."""

    exclusive: ClassVar[bool] = False
    """It says what the bits become, not what is added, and so excludes every other patch on its tensor."""
    needs_base: ClassVar[bool] = False
    """The new bits cannot be computed without those of the base."""
    factored: ClassVar[bool] = False
    """The delta is a product of factors: it has a rank, may come in groups, and can run beside a weight."""
    placed: ClassVar[bool] = False
    """It names the places that it touches, and touches no other."""

    @property
    def full(self) -> bool:
        """Whether it says something of every element, one by one."""
        return not (self.exclusive or self.factored or self.placed)

    def __repr__(self) -> str:
        return self.name

    # What a manifest tells.

    def fault(self, shape: Shape, parts: Mapping[str, tuple[str, Shape]]) -> str | None:
        """The fault of parts (name to dtype and shape) of a target of `shape`, or None."""
        if 0 in shape:
            return f"is an empty tensor {shape}"
        if math.prod(shape) > MAX_ELEMENTS:
            return f"is a tensor {shape} that no file holds"
        if set(parts) != set(self.dtypes):
            return f"has the parts {sorted(parts)}, but {self.name} has {sorted(self.dtypes)}"
        for name, (dtype, _) in parts.items():
            if dtype not in self.dtypes[name]:
                return f"has {dtype} in its part {name}, but {self.name} has {' or '.join(self.dtypes[name])} there"
        return self.shape_fault(shape, {name: part_shape for name, (_, part_shape) in parts.items()})

    @abstractmethod
    def shape_fault(self, shape: Shape, parts: Mapping[str, Shape]) -> str | None:
        """The fault in the shapes of its parts, which are all there, or None."""

    def base_fault(self, dtypes: Mapping[str, str], base_dtype: str) -> str | None:
        """Why parts of these dtypes do not fit a base of `base_dtype`, or None."""
        return None

    def rank(self, parts: Mapping[str, Shape]) -> int:
        """The number of factors, by the shapes of the parts; 0 for a form without any."""
        return 0

    # What the numbers tell. All of it is of the delta before its scale.

    def value_fault(self, shape: Shape, parts: Parts) -> str | None:
        """The fault in the numbers of a target whose dtypes and shapes are right, or None."""
        import torch

        for name, part in parts.items():
            if part.is_floating_point() and not bool(torch.isfinite(part).all()):
                return f"holds values that are not finite in its part {name}"
        return self.index_fault(shape, parts)

    def index_fault(self, shape: Shape, parts: Parts) -> str | None:
        """The fault in the places that it names, or None."""
        return None

    @abstractmethod
    def block(self, parts: Parts, start: int, stop: int, columns: int) -> "torch.Tensor":
        """Rows [start, stop) of the delta as float64 (stop - start, columns).

        Raises `ConflictError` of an exclusive form, as do the next three.
        """

    @abstractmethod
    def norm(self, parts: Parts) -> float:
        """The Frobenius norm of the delta, infinite or NaN where its numbers give that."""

    @abstractmethod
    def largest(self, parts: Parts) -> float:
        """A bound: no element of the delta is larger, either way."""

    def magnitude(self, parts: Parts, start: int, stop: int, columns: int) -> "torch.Tensor":
        """Bounds for rounding: for the rows of `block`, the sums of absolute values that make each element."""
        return self.block(parts, start, stop, columns).abs()

    def factors(self, parts: Parts) -> "tuple[torch.Tensor, torch.Tensor]":
        """Left (rows, r) and right (r, columns), whose product is the delta. Raises `ConflictError` where a form is not
        `factored`."""
        raise ConflictError(f"{self.name} has no factors", hint="use low_rank")

    def ranks(self, parts: Parts, start: int, stop: int) -> Parts:
        """The factors [start, stop) alone. Raises as `factors`."""
        raise ConflictError(f"{self.name} has no factors", hint="use low_rank")

    def support(self, parts: Parts) -> Support:
        """The places that are touched, and the values there. Raises `ConflictError` where a form is not `placed`."""
        raise ConflictError(f"{self.name} does not list single places", hint="use sparse or rows")

    def renumbered(self, parts: Parts, rows: "torch.Tensor", columns: "torch.Tensor | None") -> Parts:
        """The same delta on a matrix of only `rows` and `columns` (None: all), given in ascending order and holding
        what it touches. As it is where it names no places."""
        return parts

    # Composition.

    def scaled(self, parts: Parts, scale: float) -> Parts:
        """The delta times `scale`, in float64. Bits have no scale and stay."""
        return parts

    def joined(self, several: Sequence[Parts]) -> Parts | None:
        """The sum of several deltas of this form in this form; None where only the sum of all elements gives it."""
        return None

    def size_of(self, delta: "torch.Tensor", values: "torch.Tensor") -> int | None:
        """Bytes of a delta in float64 in this form, with its elements stored as `values` has them; None
        where this form cannot say it."""
        return None

    def spelled(self, delta: "torch.Tensor", values: "torch.Tensor") -> Parts:
        """The parts that say the delta of which `size_of` told the size. Raises `ConflictError` where it told none.

        Which elements are zero is asked of the float64: a process that flushes small float32 to zero loses none.
        """
        raise ConflictError(
            f"{self.name} cannot express a delta by its elements", hint="use dense, which expresses any delta"
        )

    def of_update(self, update: TensorUpdate, transposed: bool) -> "tuple[Form, Parts]":
        """A canonical [out, in] update of the class `update` in stored orientation, and the form that says it: not
        always this one. Raises `ConflictError` of a form that no method hands over."""
        raise ConflictError(
            f"a method cannot return {self.name}", hint="return LowRank, Dense, Sparse or Rows of editcore_hooks"
        )

    def becomes(self, parts: Parts, base: "torch.Tensor") -> "torch.Tensor":
        """Apply an exclusive form to the base. Raises `ConflictError` of one that is added to it."""
        raise ConflictError(f"{self.name} is added to its base, and sets no bits", hint="add it to the base")

    def changed(self, parts: Parts) -> "torch.Tensor | None":
        """Elements that are not zero where the bits change, if that can be told without the base; None if not."""
        return None


def in_float32(tensor: Any) -> "torch.Tensor":
    """Convert a method's tensor as patches store it: float32, on the CPU."""
    import torch

    found: torch.Tensor = tensor.detach().to("cpu", torch.float32).contiguous()
    return found
