"""The record of a finished cell."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from editcore_bench.spec.values import Cell, cell_from_json
from editcore_hooks import RefusedFileError


@frozen
class CellRecord:
    """`cost`: `edits`, `edit_seconds` (of all), `asset_seconds` (statistics before the first edit), `peak_bytes` (while
    editing, the model included), `seconds` (scoring too). `edits`: the cases, the patch and the losses of each.
    `method`: what made them, as patches say it: distribution, version, every hyper-parameter, profile and transforms,
    and what the first learnt. `where`: the machine, threads and versions of the process that ran it, and the moment."""

    cell: Cell
    rows_sha256: str
    dtype: str
    cost: Mapping[str, float]
    edits: tuple[Mapping[str, Any], ...] = field(repr=False)
    where: Mapping[str, Any] = field(repr=False)
    method: Mapping[str, Any] = field(factory=dict, repr=False)

    def to_json(self) -> dict[str, Any]:
        return {
            "cell": self.cell.to_json(),
            "rows_sha256": self.rows_sha256,
            "dtype": self.dtype,
            "cost": dict(self.cost),
            "edits": [dict(edit) for edit in self.edits],
            "method": dict(self.method),
            "where": dict(self.where),
        }


def record_from_json(value: Any, what: str) -> CellRecord:
    """Read the result of `to_json`. Raises `RefusedFileError` naming `what`."""
    try:
        return CellRecord(
            cell_from_json(value["cell"]),
            value["rows_sha256"],
            value["dtype"],
            value["cost"],
            tuple(value["edits"]),
            value["where"],
            value.get("method", {}),  # runs that were made before it was kept are read as they are
        )
    except (KeyError, TypeError) as error:
        raise RefusedFileError(
            f"{what} is not the record of a cell: {error!r}", hint="remove it and run again"
        ) from error
