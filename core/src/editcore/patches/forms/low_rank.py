"""`low_rank`: the product of two factors."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import editcore_hooks
from editcore.patches.forms.dense import DENSE
from editcore.patches.forms.form import Dtypes, Form, Parts, Shape, in_float32

if TYPE_CHECKING:
    import torch


class LowRank(Form):
    """delta = left · right, with `left` (rows, r) and `right` (r, columns)."""

    name = "low_rank"
    dtypes: ClassVar[Dtypes] = {"left": ("F32",), "right": ("F32",)}
    update = editcore_hooks.LowRank
    factored = True

    def shape_fault(self, shape: Shape, parts: Mapping[str, Shape]) -> str | None:
        left, right = parts["left"], parts["right"]
        if len(shape) != 2 or len(left) != 2 or len(right) != 2:
            return "is low_rank but not two-dimensional"
        if (left[0], right[1]) != shape or left[1] != right[0]:
            return f"has factors {left} and {right} that do not multiply to {shape}"
        if not 1 <= left[1] <= min(shape):
            return f"has rank {left[1]}, which a matrix {shape} cannot have"
        return None

    def rank(self, parts: Mapping[str, Shape]) -> int:
        return parts["left"][1]

    def block(self, parts: Parts, start: int, stop: int, columns: int) -> "torch.Tensor":
        return parts["left"][start:stop].double() @ parts["right"].double()  # (b, r) @ (r, columns)

    def norm(self, parts: Parts) -> float:
        """Without forming the product: ‖LR‖² = Σ (LᵀL) ∘ (RRᵀ)."""
        left, right = parts["left"].double(), parts["right"].double()
        return math.sqrt(float(((left.T @ left) * (right @ right.T)).sum().clamp(min=0)))

    def largest(self, parts: Parts) -> float:
        """|Σ lᵢ rᵢ| ≤ ‖l‖ ‖r‖ for each row l of the left factor and each column r of the right one."""
        rows, columns = parts["left"].double().norm(dim=1), parts["right"].double().norm(dim=0)
        return float(rows.max() * columns.max())

    def magnitude(self, parts: Parts, start: int, stop: int, columns: int) -> "torch.Tensor":
        return parts["left"][start:stop].double().abs() @ parts["right"].double().abs()  # (b, r) (r, columns)

    def factors(self, parts: Parts) -> "tuple[torch.Tensor, torch.Tensor]":
        return parts["left"], parts["right"]

    def ranks(self, parts: Parts, start: int, stop: int) -> Parts:
        return {"left": parts["left"][:, start:stop], "right": parts["right"][start:stop]}

    def scaled(self, parts: Parts, scale: float) -> Parts:
        return {"left": parts["left"].double() * scale, "right": parts["right"].double()}

    def joined(self, several: Sequence[Parts]) -> Parts:
        """Side by side: Σ Lᵢ Rᵢ = [L₁ … Lₙ] [R₁; …; Rₙ]."""
        import torch

        return {
            "left": torch.cat([parts["left"] for parts in several], dim=1),  # (rows, Σr)
            "right": torch.cat([parts["right"] for parts in several]),  # (Σr, columns)
        }

    def of_update(self, update: Any, transposed: bool) -> tuple[Form, Parts]:
        left, right = (update.in_.T, update.out.T) if transposed else (update.out, update.in_)
        if left.shape[1] > min(len(left), right.shape[1]):
            # More factors than the matrix has dimensions (a large batch): the product is the smaller spelling.
            return DENSE, {"delta": in_float32(left.double() @ right.double())}
        return self, {"left": in_float32(left), "right": in_float32(right)}


LOW_RANK = LowRank()
