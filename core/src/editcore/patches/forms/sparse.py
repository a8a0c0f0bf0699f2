"""`sparse`: single elements of the delta, and where they are."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import editcore_hooks
from editcore.patches.forms.form import Dtypes, Form, Parts, Shape, in_float32
from editcore.patches.forms.norms import frobenius, largest
from editcore.patches.forms.support import Support

if TYPE_CHECKING:
    import torch


class Sparse(Form):
    """delta[index[0, i], index[1, i]] = values[i]; `index` (2, n), ascending row by row, and `values` (n,)."""

    name = "sparse"
    dtypes: ClassVar[Dtypes] = {"index": ("I64",), "values": ("F32", "F64")}
    update = editcore_hooks.Sparse
    placed = True

    def shape_fault(self, shape: Shape, parts: Mapping[str, Shape]) -> str | None:
        index, values = parts["index"], parts["values"]
        if len(shape) != 2 or len(values) != 1 or index != (2, values[0]):
            return f"has an index {index} and values {values} that do not fit a matrix {shape}"
        return None

    def index_fault(self, shape: Shape, parts: Parts) -> str | None:
        import torch

        index = parts["index"]
        if bool((index < 0).any()) or bool((index >= torch.tensor(shape).unsqueeze(1)).any()):
            return f"has an index out of range for {shape}"
        # Strictly ascending in row-major order: no place twice, and one spelling of the same delta.
        place = index[0] * shape[1] + index[1]
        if bool((place[1:] <= place[:-1]).any()):
            return "has an index that is not strictly ascending, or names a place twice"
        return None

    def block(self, parts: Parts, start: int, stop: int, columns: int) -> "torch.Tensor":
        import torch

        index = parts["index"]  # its rows ascend, so a block is one run
        first, last = torch.searchsorted(index[0], torch.tensor([start, stop])).tolist()
        block = torch.zeros(stop - start, columns, dtype=torch.float64)
        block[index[0, first:last] - start, index[1, first:last]] = parts["values"][first:last].double()
        return block

    def norm(self, parts: Parts) -> float:
        return frobenius(parts["values"])

    def largest(self, parts: Parts) -> float:
        return largest(parts["values"])

    def support(self, parts: Parts) -> Support:
        return Support(parts["index"][0], parts["index"][1], parts["values"])

    def renumbered(self, parts: Parts, rows: "torch.Tensor", columns: "torch.Tensor | None") -> Parts:
        import torch

        index = parts["index"]
        across = index[1] if columns is None else torch.searchsorted(columns, index[1])
        return {**parts, "index": torch.stack([torch.searchsorted(rows, index[0]), across])}

    def scaled(self, parts: Parts, scale: float) -> Parts:
        return {**parts, "values": parts["values"].double() * scale}

    def size_of(self, delta: "torch.Tensor", values: "torch.Tensor") -> int | None:
        # An index takes eight bytes for each coordinate.
        return (16 + values.element_size()) * int((delta != 0).sum()) if delta.dim() == 2 else None

    def spelled(self, delta: "torch.Tensor", values: "torch.Tensor") -> Parts:
        index = (delta != 0).nonzero().T.contiguous()
        return {"index": index, "values": values[index[0], index[1]]}

    def of_update(self, update: Any, transposed: bool) -> tuple[Form, Parts]:
        return self, in_order(update.index.flip(0) if transposed else update.index, update.values)


def in_order(index: "torch.Tensor", values: "torch.Tensor") -> Parts:
    """The parts of places (2, n) that come in any order, with their values (n,)."""
    index, values = index.cpu().long(), values.cpu()
    order = index[1].argsort(stable=True)
    order = order[index[0][order].argsort(stable=True)]
    return {"index": index[:, order].contiguous(), "values": in_float32(values[order])}


SPARSE = Sparse()
