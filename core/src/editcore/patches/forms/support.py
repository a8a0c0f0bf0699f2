"""The places that a delta touches, where its form names them."""

from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    import torch


@frozen
class Support:
    """`rows` (n,) and `columns` (n,) of single places with their `values` (n,), in ascending order, row by row.

    Without `columns` whole rows are meant, and `values` are (n, width of the matrix).
    """

    rows: "torch.Tensor" = field(eq=False)
    columns: "torch.Tensor | None" = field(eq=False)
    values: "torch.Tensor" = field(eq=False)

    def places(self, width: int) -> "torch.Tensor":
        """Numbers (n,) of the places in a matrix of `width` columns; of the rows, where whole rows are meant."""
        return self.rows if self.columns is None else self.rows * width + self.columns
