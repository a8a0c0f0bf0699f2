"""The page of a run as Markdown, with a picture beside it: to be kept in a repository."""

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from editcore_bench.report.alone import side_by_side
from editcore_bench.report.drawing import Legend
from editcore_bench.report.figures import CellFigures
from editcore_bench.report.pairs import cell_text, chart, differences, pairs_of, shown
from editcore_bench.report.table import Line, dtypes_of, lines, metrics_of
from editcore_bench.report.training import loss_charts
from editcore_bench.report.words import between_text, bytes_text, seconds_text, value_text
from editcore_bench.runs.folder import RunFolder

MOST_APART = 60
"""Lines of the table of differences."""


@frozen
class Page:
    text: str
    picture: str | None


def markdown(folder: RunFolder, cells: Sequence[CellFigures], picture: str) -> Page:
    """The page; `picture` is the name of its picture's file, made where the spec has pairs or a method notes losses."""
    manifest = folder.manifest()
    spec, pairs = manifest["identity"]["spec"], pairs_of(manifest)
    parts = [f"# {spec['title']}", spec["about"], _facts(manifest, cells)]
    drawn = None
    groups = _tables(lines(cells))
    if pairs:
        (_, first), *_ = groups
        drawn = chart(first, shown(first, pairs), f"{spec['title']}: {_title(first[0])}")
        parts += [f"![Each property twice: teacher-forced, and by the model's own answers]({picture})"]
        parts += ["Two figures a cell: teacher-forced, then gen-1. Shares in percent."]
    elif losses := list(loss_charts(cells, legend := Legend.of(cells))):
        drawn = side_by_side(losses, legend.names)
        parts += [f"![Losses over the steps of training, the mean over edits]({picture})"]
    for title, some in groups:
        own = shown(some, pairs)
        single = [m for m in metrics_of([line.cells for line in some]) if m not in _paired(pairs)]
        head = ["method", *(pair.name for pair in own), *single, "an edit", "peak memory"]
        rows = [
            [
                line.cells.cell.method.label,
                *(cell_text(line, pair) for pair in own),
                *(_value(line, metric) for metric in single),
                *_cost(line),
            ]
            for line in some
        ]
        parts += [f"## {title}", _table(head, rows)]
    if pairs:
        parts += ["## Differences over the same cases", *_apart(folder, [pair.written for pair in pairs])]
    return Page("\n\n".join(part for part in parts if part) + "\n", drawn)


def _paired(pairs: Sequence[Any]) -> set[str]:
    return {metric for pair in pairs for metric in (pair.forced, pair.written)}


def _facts(manifest: Any, cells: Sequence[CellFigures]) -> str:
    identity, where = manifest["identity"], manifest["where"]
    rows = [f"- model {name}: `{root}`" for name, root in identity["models"].items()]
    rows += [f"- cases {name}: sha256 `{root}`" for name, root in identity["datasets"].items()]
    rows.append(f"- computed in {dtypes_of(cells)} on {identity['machine']['device']}, {where['created'][:10]}")
    rows.append(f"- {', '.join(f'{name} {version}' for name, version in where['versions'].items())}")
    return "\n".join(rows)


def _tables(every: Sequence[Line]) -> list[tuple[str, list[Line]]]:
    groups: dict[str, list[Line]] = {}
    for line in every:
        groups.setdefault(_title(line), []).append(line)
    return list(groups.items())


def _title(line: Line) -> str:
    cell = line.cells.cell
    return f"{cell.model} on {cell.dataset.label}, {cell.protocol.label}, scored {line.moment}"


def _value(line: Line, metric: str) -> str:
    figure = line.figures.get(metric)
    return "" if figure is None else f"{value_text(metric, figure.value)} ({between_text(figure)})"


def _cost(line: Line) -> tuple[str, str]:
    if line.cells.cell.method.baseline is not None:
        return "", ""
    return seconds_text(line.seconds_per_edit), bytes_text(line.cells.record.cost["peak_bytes"])


def _apart(folder: RunFolder, metrics: Sequence[str]) -> list[str]:
    """The differences that intervals tell apart; the number of the others."""
    every = list(differences(folder, metrics))
    told = [one for one in every if one.difference.told_apart]
    rows = [
        [
            f"{one.b} - {one.a}",
            one.cell.protocol.label,
            one.phase,
            one.metric,
            value_text(one.metric, one.difference.mean),
            f"{value_text(one.metric, one.difference.low)} to {value_text(one.metric, one.difference.high)}",
            str(one.difference.n),
        ]
        for one in told[:MOST_APART]
    ]
    head = ["methods", "protocol", "scored", "metric", "difference", "95 % interval", "n"]
    said = f"{len(told)} of {len(every)} differences have a paired 95 % interval without zero."
    return [said, _table(head, rows)] if rows else [said]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines_ = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines_)
