"""Two protocols side by side: a property teacher-forced as published, and by what the model answers by itself."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import combinations
from typing import Any, Final

from attrs import frozen

from editcore.authoring.evaluation import PairedDifference, paired
from editcore_bench.compared import by_case
from editcore_bench.report.figures import MOMENTS, is_share
from editcore_bench.report.table import Line
from editcore_bench.report.words import value_text
from editcore_bench.runs.folder import RunFolder
from editcore_bench.spec.values import Cell, Pair

FORCED: Final = "#9aa5b1"
WRITTEN: Final = "#0b6e99"


def pairs_of(manifest: Mapping[str, Any]) -> tuple[Pair, ...]:
    """The pairs of a run's spec."""
    return tuple(Pair(**row) for row in manifest["identity"]["spec"].get("pairs", ()))


def shown(lines: Sequence[Line], pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs that count anywhere in these lines."""
    return [pair for pair in pairs if any({pair.forced, pair.written} & line.figures.keys() for line in lines)]


def cell_text(line: Line, pair: Pair) -> str:
    """`95.0 / 38.5`: teacher-forced, then written."""
    both = [line.figures.get(metric) for metric in (pair.forced, pair.written)]
    return " / ".join(value_text(one.metric, one.value) if one is not None else "-" for one in both)


@frozen
class Apart:
    """How far a figure of `b` is from that of `a`, over the same cases."""

    cell: Cell
    phase: str
    a: str
    b: str
    metric: str
    difference: PairedDifference


def differences(folder: RunFolder, metrics: Sequence[str]) -> Iterator[Apart]:
    """Between every two methods of a run that scored the same cases, with the unedited model first."""
    groups: dict[tuple[str, str, str, int], list[Cell]] = {}
    for record in folder.records():
        cell = record.cell
        groups.setdefault((cell.model, cell.dataset.label, cell.protocol.label, cell.seed), []).append(cell)
    for cells in groups.values():
        values = [by_case(cell, folder.rows(cell)) for cell in cells]
        for (one, left), (other, right) in combinations(zip(cells, values, strict=True), 2):
            for phase in MOMENTS:
                for metric in metrics:
                    a, b = left.get((phase, metric), {}), right.get((phase, metric), {})
                    if both := [case for case in a if case in b]:
                        gap = paired([a[case] for case in both], [b[case] for case in both], share=is_share(metric))
                        yield Apart(one, phase, one.method.label, other.method.label, metric, gap)


def chart(lines: Sequence[Line], pairs: Sequence[Pair], title: str) -> str:
    """An SVG that stands alone: for each property a group of methods, two bars each with their intervals."""
    bar, gap, left, right = 9, 7, 210, 380
    rows: list[str] = []
    y = 58
    for pair in pairs:
        rows.append(f'<text x="12" y="{y + 4}" font-weight="600">{escape(pair.name)}</text>')
        y += 14
        for line in lines:
            both = [(line.figures.get(pair.forced), FORCED), (line.figures.get(pair.written), WRITTEN)]
            if not any(figure is not None and is_share(figure.metric) for figure, _ in both):
                continue
            name = escape(line.cells.cell.method.label)
            rows.append(f'<text x="{left - 8}" y="{y + bar + 4}" text-anchor="end">{name}</text>')
            for figure, colour in both:
                if figure is not None and is_share(figure.metric):
                    wide = right * figure.value
                    low, high = (left + right * end for end in (figure.low, figure.high))
                    middle, value = y + bar / 2, value_text(figure.metric, figure.value)
                    rows.append(f'<rect x="{left}" y="{y}" width="{wide:.1f}" height="{bar}" fill="{colour}"/>')
                    rows.append(
                        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="#333"/>'
                        f'<text x="{left + right + 8}" y="{y + bar - 1}">{value}</text>'
                    )
                y += bar + 1
            y += gap
        y += gap
    width = left + right + 60
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + 8}" width="{width}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="#fff"/><text x="12" y="22" font-size="14">{escape(title)}</text>'
        f'<rect x="12" y="32" width="9" height="9" fill="{FORCED}"/><text x="26" y="41">teacher-forced, as published'
        f'</text><rect x="190" y="32" width="9" height="9" fill="{WRITTEN}"/><text x="204" y="41">gen-1: the model '
        "answers and stops by itself</text>"
    )
    return "\n".join([head, *rows, "</svg>"]) + "\n"
