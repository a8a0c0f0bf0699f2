"""`dense`: every element of the delta."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import editcore_hooks
from editcore.patches.forms.form import Dtypes, Form, Parts, Shape, in_float32
from editcore.patches.forms.norms import frobenius, largest

if TYPE_CHECKING:
    import torch


class Dense(Form):
    """`delta` of the shape of the target, which has at least one dimension."""

    name = "dense"
    dtypes: ClassVar[Dtypes] = {"delta": ("F32", "F64")}
    update = editcore_hooks.Dense

    def shape_fault(self, shape: Shape, parts: Mapping[str, Shape]) -> str | None:
        if not shape or parts["delta"] != shape:
            return f"has a delta {parts['delta']} for a tensor {shape}"
        return None

    def block(self, parts: Parts, start: int, stop: int, columns: int) -> "torch.Tensor":
        # A vector counts as a matrix of one column, a stack of matrices as one of longer rows.
        return parts["delta"].reshape(-1, columns)[start:stop].double()

    def norm(self, parts: Parts) -> float:
        return frobenius(parts["delta"])

    def largest(self, parts: Parts) -> float:
        return largest(parts["delta"])

    def scaled(self, parts: Parts, scale: float) -> Parts:
        return {"delta": parts["delta"].double() * scale}

    def size_of(self, delta: "torch.Tensor", values: "torch.Tensor") -> int:
        return values.element_size() * values.numel()

    def spelled(self, delta: "torch.Tensor", values: "torch.Tensor") -> Parts:
        return {"delta": values}

    def of_update(self, update: Any, transposed: bool) -> tuple[Form, Parts]:
        return self, {"delta": in_float32(update.delta.T if transposed else update.delta)}


DENSE = Dense()
