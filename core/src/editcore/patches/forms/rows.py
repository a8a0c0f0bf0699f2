"""`rows`: whole rows of the delta, and which they are."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import editcore_hooks
from editcore.patches.forms.form import Dtypes, Form, Parts, Shape, in_float32
from editcore.patches.forms.norms import frobenius, largest
from editcore.patches.forms.sparse import SPARSE, in_order
from editcore.patches.forms.support import Support

if TYPE_CHECKING:
    import torch


class Rows(Form):
    """delta[index[i]] = values[i]; `index` (n,), ascending, and `values` (n, columns)."""

    name = "rows"
    dtypes: ClassVar[Dtypes] = {"index": ("I64",), "values": ("F32", "F64")}
    update = editcore_hooks.Rows
    placed = True

    def shape_fault(self, shape: Shape, parts: Mapping[str, Shape]) -> str | None:
        index, values = parts["index"], parts["values"]
        if len(shape) != 2 or len(index) != 1 or values != (index[0], shape[1]):
            return f"has an index {index} and values {values} that are not rows of a matrix {shape}"
        return None

    def index_fault(self, shape: Shape, parts: Parts) -> str | None:
        index = parts["index"]
        if bool((index < 0).any()) or bool((index >= shape[0]).any()):
            return f"has an index out of range for {shape}"
        if bool((index[1:] <= index[:-1]).any()):
            return "has an index that is not strictly ascending, or names a place twice"
        return None

    def block(self, parts: Parts, start: int, stop: int, columns: int) -> "torch.Tensor":
        import torch

        index = parts["index"]  # ascending, so a block is one run
        first, last = torch.searchsorted(index, torch.tensor([start, stop])).tolist()
        block = torch.zeros(stop - start, columns, dtype=torch.float64)
        block[index[first:last] - start] = parts["values"][first:last].double()
        return block

    def norm(self, parts: Parts) -> float:
        return frobenius(parts["values"])

    def largest(self, parts: Parts) -> float:
        return largest(parts["values"])

    def support(self, parts: Parts) -> Support:
        return Support(parts["index"], None, parts["values"])

    def renumbered(self, parts: Parts, rows: "torch.Tensor", columns: "torch.Tensor | None") -> Parts:
        import torch

        return {**parts, "index": torch.searchsorted(rows, parts["index"])}

    def scaled(self, parts: Parts, scale: float) -> Parts:
        return {**parts, "values": parts["values"].double() * scale}

    def joined(self, several: Sequence[Parts]) -> Parts:
        """The union of the rows, with the sum in float64 where two have one row."""
        import torch

        index = torch.cat([parts["index"] for parts in several]).unique()  # type: ignore[no-untyped-call]
        total = torch.zeros(len(index), several[0]["values"].shape[1], dtype=torch.float64)
        for parts in several:
            total[torch.searchsorted(index, parts["index"])] += parts["values"].double()
        return {"index": index, "values": total}

    def size_of(self, delta: "torch.Tensor", values: "torch.Tensor") -> int | None:
        if delta.dim() != 2:
            return None
        count = int((delta != 0).any(dim=1).sum())
        return (8 + values.element_size() * values.shape[1]) * count  # eight bytes for each number of a row

    def spelled(self, delta: "torch.Tensor", values: "torch.Tensor") -> Parts:
        index = (delta != 0).any(dim=1).nonzero().squeeze(1)
        return {"index": index, "values": values[index]}

    def of_update(self, update: Any, transposed: bool) -> tuple[Form, Parts]:
        """Whole rows of a transposed matrix are columns, which version 1 stores as sparse."""
        import torch

        index, values = update.index.cpu().long(), update.values
        if not transposed:
            order = index.argsort(stable=True)
            return self, {"index": index[order], "values": in_float32(values.cpu()[order])}
        columns = torch.arange(values.shape[1])
        rows = index.repeat_interleave(len(columns))  # (n · d_in,), the out side
        return SPARSE, in_order(torch.stack([columns.repeat(len(index)), rows]), values.reshape(-1))


ROWS = Rows()
