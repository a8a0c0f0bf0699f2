"""From the rows of a run to figures: each a metric over the cases of one cell at one moment, with its interval."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Final

from attrs import frozen

from editcore.authoring.evaluation import NothingAskedError, summarise
from editcore.authoring.settings import registry
from editcore_bench.runs.folder import RunFolder
from editcore_bench.runs.record import CellRecord
from editcore_bench.spec.values import Cell
from editcore_hooks import Report

Row = Mapping[str, Any]

MOMENTS: Final = {
    "single": "alone",
    "batch": "with its batch",
    "immediate": "right after",
    "gap": "after a gap",
    "final": "all at the end",
    "retained": "of the first ones",
}
"""When a case was scored, in words; the order in which they are shown. `retained` is `final` of some cases alone: early
ones that were right right after their edit."""

EARLY: Final = 100
"""Most cases of a sequence that count as its beginning; of a short one it is the first half."""


@frozen
class Figure:
    """`edits` is how many were on the model. Of a case scored right after its edit, or a gap later, there is a figure
    over each stretch between two checkpoints, from edit `since` + 1 to `edits`, and one over all, since 0."""

    cell: Cell
    phase: str
    edits: int
    since: int
    metric: str
    value: float
    low: float
    high: float
    n: int


@frozen
class CellFigures:
    """All figures of a cell."""

    record: CellRecord
    figures: tuple[Figure, ...]

    @property
    def cell(self) -> Cell:
        return self.record.cell

    def whole(self) -> list[Figure]:
        """Those that stand for the cell in a table: over all its edits."""
        return [one for one in self.figures if one.since == 0 and one.edits == self.cell.protocol.size]

    def curve(self, metric: str, phase: str) -> list[Figure]:
        """Along a sequence: at every checkpoint, over the stretch that ends there."""
        found = [one for one in self.figures if one.metric == metric and one.phase == phase]
        return sorted(
            {one.edits: one for one in sorted(found, key=lambda one: one.since)}.values(), key=lambda one: one.edits
        )


def cell_figures(folder: RunFolder) -> list[CellFigures]:
    """The figures of every finished cell of a run, in the order of its spec."""
    metrics: list[str] = folder.manifest()["identity"]["spec"]["metrics"]
    return [
        CellFigures(record, tuple(_figures(record.cell, list(folder.rows(record.cell)), metrics)))
        for record in folder.records()
    ]


def _figures(cell: Cell, rows: Sequence[Row], metrics: Sequence[str]) -> Iterator[Figure]:
    for phase in MOMENTS:
        for since, edits, some in _moments(cell, phase, [row for row in rows if row["phase"] == phase]):
            for metric in metrics:
                if (report := summary(metric, some)) is not None:
                    yield Figure(cell, phase, edits, since, metric, report.value, report.low, report.high, report.n)
    for metric in (metric for metric in metrics if is_share(metric)):
        for edits, some in _retained(cell, rows, metric):
            if (report := summary(metric, some)) is not None:
                yield Figure(cell, "retained", edits, 0, metric, report.value, report.low, report.high, report.n)


def early(cell: Cell) -> int:
    """The number of first edits of a sequence whose survival is measured."""
    return min(EARLY, cell.protocol.size // 2)


@cache
def is_share(metric: str) -> bool:
    """Whether a value is a share between 0 and 1, written in percent; the metric says so."""
    known = registry().metrics.find(metric)
    return known is not None and known.share


def _retained(cell: Cell, rows: Sequence[Row], metric: str) -> Iterator[tuple[int, Sequence[Row]]]:
    """By how many edits were on, the rows of the early cases of which every prompt was right right after the edit."""
    own = [row for row in rows if row["metric"] == metric and "part" not in row]
    right: dict[str, bool] = {}
    for row in own:
        if row["phase"] == "immediate" and row["edits"] <= early(cell) and row["value"] is not None:
            right[row["case"]] = right.get(row["case"], True) and row["value"] == 1
    later = [row for row in own if row["phase"] == "final" and right.get(row["case"], False)]
    for edits in sorted({row["edits"] for row in later if row["edits"] >= early(cell)}):
        yield edits, [row for row in later if row["edits"] == edits]


def _moments(cell: Cell, phase: str, rows: Sequence[Row]) -> Iterator[tuple[int, int, Sequence[Row]]]:
    """The rows of a phase by how many edits were on: of each stretch, or of each number."""
    if phase not in ("immediate", "gap"):
        for edits in sorted({row["edits"] for row in rows}):
            yield 0, edits, [row for row in rows if row["edits"] == edits]
        return
    marks = sorted({0, *cell.protocol.checkpoints})
    for since, edits in sorted({*pairwise(marks), (0, cell.protocol.size)}):
        stretch = [row for row in rows if since < row["edits"] <= edits]
        if stretch:
            yield since, edits, stretch


def summary(metric: str, rows: Iterable[Row]) -> Report | None:
    """A metric over some rows of a run, those of other metrics passed over; None where it counts none of them."""
    try:
        return summarise(metric, [row for row in rows if row["metric"] == metric])
    except NothingAskedError:
        return None
