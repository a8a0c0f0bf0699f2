"""The delta of one target as tensors: turned into stored orientation, checked, and read block by block."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from attrs import field, frozen

from editcore.patches.forms.table import form_fault
from editcore.storage.tensors import DTYPE_NAMES
from editcore_hooks import ConflictError, Dense, LowRank, PluginError, RefusedFileError, Rows, Sparse, TensorUpdate

PIECE: Final = 2**17
"""Elements of which up to four float64 copies are held at a time: 4 MiB."""
LARGEST: Final = torch.finfo(torch.float32).max
"""Largest norm. A larger delta overflows the tensor it is added to; below it squares and products fit in float64."""


@frozen
class Delta:
    """`scale` times what the parts of `form` describe, in the stored orientation of the tensor.

    Beside the forms of the file there is `moved`, which is not stored: `after` less `before`, both as they are.
    """

    form: str
    parts: Mapping[str, torch.Tensor] = field(eq=False)
    scale: float = 1.0

    def block(self, start: int, stop: int, columns: int) -> torch.Tensor:
        """Rows [start, stop) of the unscaled delta as float64 (stop - start, columns)."""
        parts = self.parts
        match self.form:
            case "low_rank":
                return parts["left"][start:stop].double() @ parts["right"].double()  # (b, r) @ (r, columns)
            case "dense":
                # A vector counts as a matrix of one column, a stack of matrices as one of longer rows.
                return parts["delta"].reshape(-1, columns)[start:stop].double()
            case "moved":
                after, before = (parts[name].reshape(-1, columns)[start:stop] for name in ("after", "before"))
                return after.double() - before.double()
            case "xor" | "replace":
                raise ConflictError(
                    f"{self.form} is not a delta without its base", hint="apply it to a copy of the base"
                )
        index = parts["index"]
        rows = index[0] if self.form == "sparse" else index  # ascending, so a block is one run
        first, last = torch.searchsorted(rows, torch.tensor([start, stop])).tolist()
        block = torch.zeros(stop - start, columns, dtype=torch.float64)
        here, values = rows[first:last] - start, parts["values"][first:last].double()
        if self.form == "sparse":
            block[here, index[1, first:last]] = values
        else:
            block[here] = values
        return block


def whole(deltas: Sequence[Delta]) -> Delta:
    """One delta that is the sum of `deltas`: itself, or the groups of a squashed target put side by side again."""
    if len(deltas) == 1:
        return deltas[0]
    left = torch.cat([delta.parts["left"].double() * delta.scale for delta in deltas], dim=1)  # (rows, Σr)
    right = torch.cat([delta.parts["right"].double() for delta in deltas])  # (Σr, columns)
    return Delta("low_rank", {"left": left, "right": right})


def norm(delta: Delta, name: str = "a tensor") -> float:
    """Frobenius norm of the scaled delta, without forming a low-rank product: ‖LR‖² = Σ (LᵀL) ∘ (RRᵀ).

    Raises `RefusedFileError` when it is over `LARGEST`, infinite or NaN: no other figure of the delta would mean
    anything then. `name` is that of its tensor.
    """
    if delta.form == "low_rank":
        left, right = delta.parts["left"].double(), delta.parts["right"].double()
        square = float(((left.T @ left) * (right @ right.T)).sum().clamp(min=0))
        size = abs(delta.scale) * math.sqrt(square)
    elif delta.form == "moved":
        pieces = zip(*(torch.split(delta.parts[name].reshape(-1), PIECE) for name in ("after", "before")), strict=True)
        square = sum(float((after.double() - before.double()).square().sum()) for after, before in pieces)
        size = abs(delta.scale) * math.sqrt(square)
    else:
        size = abs(delta.scale) * frobenius(delta.parts["delta" if delta.form == "dense" else "values"])
    if not size <= LARGEST:  # also where it is NaN
        raise RefusedFileError(f"the change of {name} overflows F32", hint="leave it out; its author must fix it")
    return size


def frobenius(tensor: torch.Tensor) -> float:
    """The norm in float64, of which no more than a piece is held."""
    pieces = torch.split(tensor.reshape(-1), PIECE)
    return math.sqrt(sum(float(piece.double().square().sum()) for piece in pieces))


def value_fault(form: str, shape: tuple[int, ...], parts: Mapping[str, torch.Tensor]) -> str | None:
    """The fault of the numbers of a target whose dtypes and shapes are right, or None."""
    for name, part in parts.items():
        if part.is_floating_point() and not bool(torch.isfinite(part).all()):
            return f"holds values that are not finite in its part {name}"
    if form not in ("sparse", "rows") or not parts["values"].numel():
        return None
    index = parts["index"]
    index = index.reshape(1, -1) if form == "rows" else index
    limits = torch.tensor(shape[: len(index)]).unsqueeze(1)
    if bool((index < 0).any()) or bool((index >= limits).any()):
        return f"has an index out of range for {shape}"
    # Strictly ascending in row-major order: no place twice, and one spelling of the same delta.
    place = index[0] * shape[1] + index[1] if form == "sparse" else index[0]
    if bool((place[1:] <= place[:-1]).any()):
        return "has an index that is not strictly ascending, or names a place twice"
    return None


@frozen
class StoredUpdate:
    """A tensor update in the orientation of the checkpoint's tensor: form and parts as the patch file has them."""

    form: str
    parts: Mapping[str, torch.Tensor] = field(eq=False)

    def fault(self, shape: tuple[int, ...]) -> str | None:
        described = {name: (DTYPE_NAMES[part.dtype], tuple(part.shape)) for name, part in self.parts.items()}
        return form_fault(self.form, shape, described) or value_fault(self.form, shape, self.parts)


def to_stored(update: TensorUpdate, transposed: bool) -> StoredUpdate:
    """Turn a canonical [out, in] update into stored orientation: as it is, or `transposed` for Conv1D's [in, out].

    Values become float32. Whole rows of a transposed matrix are columns, which version 1 stores as sparse.
    Raises `PluginError` when a method hands over something else.
    """
    match update:
        case LowRank(out, in_):  # (d_out, r), (r, d_in)
            left, right = (in_.T, out.T) if transposed else (out, in_)
            if left.shape[1] > min(len(left), right.shape[1]):
                # More factors than the matrix has dimensions (a large batch): the product is the smaller spelling.
                return StoredUpdate("dense", {"delta": _fp32(left.double() @ right.double())})
            return StoredUpdate("low_rank", {"left": _fp32(left), "right": _fp32(right)})
        case Dense(delta):
            return StoredUpdate("dense", {"delta": _fp32(delta.T if transposed else delta)})
        case Sparse(index, values):
            return _sorted_sparse(index.flip(0) if transposed else index, values)
        case Rows(index, values) if transposed:
            columns = torch.arange(values.shape[1])
            rows = index.cpu().long().repeat_interleave(len(columns))  # (n · d_in,), the out side
            pairs = torch.stack([columns.repeat(len(index)), rows])
            return _sorted_sparse(pairs, values.reshape(-1))
        case Rows(index, values):
            order = index.cpu().long().argsort(stable=True)
            return StoredUpdate("rows", {"index": index.cpu().long()[order], "values": _fp32(values.cpu()[order])})
    raise PluginError(
        f"a tensor update is {type(update).__name__}, not LowRank, Dense, Sparse or Rows",
        hint="the method breaks the contract; report it to its author",
    )


def _sorted_sparse(index: torch.Tensor, values: torch.Tensor) -> StoredUpdate:
    index, values = index.cpu().long(), values.cpu()
    order = index[1].argsort(stable=True)
    order = order[index[0][order].argsort(stable=True)]
    return StoredUpdate("sparse", {"index": index[:, order].contiguous(), "values": _fp32(values[order])})


def _fp32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", torch.float32).contiguous()
