"""Charts of a run: curves over batch size and along sequences, bars of time and memory."""

from collections.abc import Iterator, Sequence

from attrs import frozen

from editcore_bench.report.charts import Bar, Curve, Point, bars, lines
from editcore_bench.report.figures import CellFigures, Figure, is_share
from editcore_bench.report.words import bytes_text, interval_text, moment_text, seconds_text, value_text
from editcore_bench.spec.values import Cell


@frozen
class Chart:
    title: str
    note: str
    svg: str


@frozen
class Legend:
    """The series of all charts of a page: methods, apart by seed where there are several."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, cells: Sequence[CellFigures]) -> "Legend":
        several = len({one.cell.seed for one in cells}) > 1
        return cls(tuple(dict.fromkeys(series_name(one.cell, several) for one in cells)))

    def place(self, cell: Cell) -> int:
        names = (series_name(cell, False), series_name(cell, True))
        return next(place for place, name in enumerate(self.names) if name in names)


def series_name(cell: Cell, seeds: bool) -> str:
    return f"{cell.method.label}, seed {cell.seed}" if seeds else cell.method.label


def batch_charts(cells: Sequence[CellFigures], metrics: Sequence[str], legend: Legend) -> Iterator[Chart]:
    """A chart a metric over the size of a batch, where there is more than one size; a single edit is a batch of one."""
    chosen = [one for one in cells if one.cell.protocol.kind in ("batch", "single")]
    if len({one.cell.protocol.size for one in chosen}) < 2:
        return
    for metric in metrics:
        curves = []
        for place, some in _by_series(chosen, legend):
            # singles first: where there are batches of one too, those are taken
            kinds = sorted(some, key=lambda one: one.cell.protocol.kind, reverse=True)
            sizes = {one.cell.protocol.size: one for one in kinds}
            figures = [figure for _, one in sorted(sizes.items()) for figure in one.whole() if figure.metric == metric]
            if figures:
                curves.append(Curve(place, False, tuple(_point(figure, legend, "edits at once") for figure in figures)))
        if curves:
            svg = lines(curves, f"{metric} over batch size", "edits at once", is_share(metric))
            yield Chart(metric, "all edits of a batch at once, scored together", svg)


def sequence_charts(cells: Sequence[CellFigures], metrics: Sequence[str], legend: Legend) -> Iterator[Chart]:
    """A chart a metric along a sequence: all edits so far, drawn through, and right after each edit, dashed.

    Sequences of single edits and of groups have charts of their own.
    """
    chosen = [one for one in cells if one.cell.protocol.kind == "sequential"]
    for at_once in sorted({one.cell.protocol.at_once for one in chosen}):
        some = [one for one in chosen if one.cell.protocol.at_once == at_once]
        yield from _along(some, metrics, legend, f", {at_once} at once" if at_once > 1 else "")


def _along(chosen: Sequence[CellFigures], metrics: Sequence[str], legend: Legend, groups: str) -> Iterator[Chart]:
    for metric in metrics:
        curves = []
        for place, some in _by_series(chosen, legend):
            for phase, dashed in (("final", False), ("immediate", True)):
                figures = [figure for one in some for figure in one.curve(metric, phase)]
                if figures:
                    points = tuple(_point(figure, legend, moment_text(some[0], phase)) for figure in figures)
                    curves.append(Curve(place, dashed, points))
        if curves:
            svg = lines(curves, f"{metric} along a sequence of edits", "edits made", is_share(metric))
            yield Chart(f"{metric}{groups}", "line: all edits so far; dashed: right after each edit", svg)
    for metric in metrics:
        curves = []
        for place, some in _by_series(chosen, legend):
            kept = [figure for one in some for figure in one.curve(metric, "retained")]
            if kept:
                what = moment_text(some[0], "retained")
                curves.append(Curve(place, False, tuple(_point(figure, legend, what) for figure in kept)))
        if curves:
            svg = lines(curves, f"{metric} kept along a sequence of edits", "edits made", is_share(metric))
            yield Chart(
                f"{metric}{groups}, kept", "of early edits that were right right after, the share that still is", svg
            )


def cost_charts(cells: Sequence[CellFigures], legend: Legend) -> Iterator[Chart]:
    """Seconds an edit and peak memory, by method, for every protocol."""
    rows = {
        "Seconds an edit": [(one, one.record.cost["edit_seconds"] / one.record.cost["edits"]) for one in cells],
        "Peak memory while editing": [(one, one.record.cost["peak_bytes"]) for one in cells],
    }
    notes = {
        "Seconds an edit": "mean over the edits of a cell, without statistics that are collected once",
        "Peak memory while editing": "the model included",
    }
    say = {"Seconds an edit": seconds_text, "Peak memory while editing": bytes_text}
    for title, values in rows.items():
        drawn = [
            Bar(f"{legend.names[legend.place(one.cell)]}, {one.cell.protocol.label}", legend.place(one.cell), value,
                say[title](value))
            for one, value in values
        ]  # fmt: skip
        yield Chart(title, notes[title], bars(drawn, title))


def _by_series(cells: Sequence[CellFigures], legend: Legend) -> Iterator[tuple[int, list[CellFigures]]]:
    for place in range(len(legend.names)):
        some = [one for one in cells if legend.place(one.cell) == place]
        if some:
            yield place, some


def _point(figure: Figure, legend: Legend, what: str) -> Point:
    name = legend.names[legend.place(figure.cell)]
    value = value_text(figure.metric, figure.value)
    says = f"{name}, {figure.edits} edits, {what}: {value} ({interval_text(figure)}), n = {figure.n}"
    return Point(figure.edits, figure.value, figure.low, figure.high, says)
