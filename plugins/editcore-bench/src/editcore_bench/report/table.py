"""The summary as rows: one a cell and moment, a column a metric."""

import csv
from collections.abc import Sequence
from io import StringIO

from attrs import frozen

from editcore_bench.report.figures import MOMENTS, CellFigures, Figure
from editcore_bench.report.words import between_text, bytes_text, moment_text, seconds_text, value_text


@frozen
class Line:
    """A row of a table for a cell at one moment; `figures` by metric."""

    cells: CellFigures
    phase: str
    figures: dict[str, Figure]

    @property
    def moment(self) -> str:
        return moment_text(self.cells, self.phase)

    @property
    def seconds_per_edit(self) -> float:
        cost = self.cells.record.cost
        return cost["edit_seconds"] / cost["edits"]


def lines(cells: Sequence[CellFigures]) -> list[Line]:
    """A line for each cell and each moment at which it was scored."""
    found = []
    for one in cells:
        for phase in MOMENTS:
            figures = {figure.metric: figure for figure in one.whole() if figure.phase == phase}
            if figures:
                found.append(Line(one, phase, figures))
    return found


def metrics_of(cells: Sequence[CellFigures]) -> list[str]:
    """Every metric that counts anywhere, in the order of the spec."""
    return list(dict.fromkeys(figure.metric for one in cells for figure in one.figures))


def terminal(cells: Sequence[CellFigures]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the summary; shares are in percent. Each figure has its interval and its own n: a metric
    counts the cases, or of the model as a whole the texts, that it has something to ask of."""
    metrics = metrics_of(cells)
    names = _differing(cells)
    rows = []
    for line in lines(cells):
        shown = [line.figures.get(metric) for metric in metrics]
        rows.append(
            [
                *(_name(line, key) for key in names),
                line.moment,
                *(f"{value_text(one.metric, one.value)} ({between_text(one)})" if one else "" for one in shown),
                seconds_text(line.seconds_per_edit),
                bytes_text(line.cells.record.cost["peak_bytes"]),
            ]
        )
    return [*names, "scored", *metrics, "an edit", "peak"], rows


def dtypes_of(cells: Sequence[CellFigures]) -> str:
    """Dtype of the models."""
    return ", ".join(sorted({one.record.dtype for one in cells}))


def as_csv(cells: Sequence[CellFigures]) -> str:
    """Every figure, those of each checkpoint too, one a line."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ["model", "dataset", "method", "protocol", "seed", "scored", "since", "edits"]
    writer.writerow([*names, "metric", "value", "low", "high", "n", "dtype", "seconds_per_edit", "peak_bytes"])
    for one in cells:
        cell, cost = one.cell, one.record.cost
        for figure in one.figures:
            writer.writerow(
                [
                    *map(_no_formula, (cell.model, cell.dataset.label, cell.method.label, cell.protocol.label)),
                    cell.seed,
                    moment_text(one, figure.phase),
                    figure.since,
                    figure.edits,
                    figure.metric,
                    figure.value,
                    figure.low,
                    figure.high,
                    figure.n,
                    one.record.dtype,
                    cost["edit_seconds"] / cost["edits"],
                    cost["peak_bytes"],
                ]
            )
    return text.getvalue()


def _no_formula(text: str) -> str:
    """A spreadsheet runs a text that begins so."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _name(line: Line, key: str) -> str:
    cell = line.cells.cell
    return {
        "model": cell.model,
        "dataset": cell.dataset.label,
        "method": cell.method.label,
        "protocol": cell.protocol.label,
        "seed": str(cell.seed),
    }[key]


def _differing(cells: Sequence[CellFigures]) -> list[str]:
    """The names to show: method and protocol always, the others if the run has more than one."""
    several = {
        "model": len({one.cell.model for one in cells}) > 1,
        "dataset": len({one.cell.dataset.label for one in cells}) > 1,
        "method": True,
        "protocol": True,
        "seed": len({one.cell.seed for one in cells}) > 1,
    }
    return [name for name, shown in several.items() if shown]
