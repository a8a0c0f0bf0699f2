"""Charts of how methods train: losses over steps, and what an edit learnt to say beside what it was taught."""

from collections.abc import Iterator, Sequence
from statistics import fmean, stdev
from typing import Final

from editcore_bench.report.charts import Bar, Curve, Point, bars, lines
from editcore_bench.report.drawing import Chart, Legend
from editcore_bench.report.figures import CellFigures

LIKELIEST: Final = 5


def loss_charts(cells: Sequence[CellFigures], legend: Legend) -> Iterator[Chart]:
    """A chart a loss and protocol over the steps of training."""
    for protocol in dict.fromkeys(one.cell.protocol.label for one in cells):
        some = [one for one in cells if one.cell.protocol.label == protocol]
        names = dict.fromkeys(name for one in some for edit in one.record.edits for name in edit.get("curves", {}))
        for name in names:
            curves = [curve for one in some if (curve := _curve(one, name, legend)) is not None]
            svg = lines(curves, f"loss {name} over steps", "steps", False)
            yield Chart(f"loss: {name}, {protocol}", "mean over edits, with one standard deviation", svg)


def learnt_charts(cells: Sequence[CellFigures], legend: Legend) -> Iterator[Chart]:
    """The distributions of each method's first edit."""
    for one in {one.cell.method.label: one for one in reversed(cells) if "learnt" in one.record.method}.values():
        yield _distributions(one, legend)


def _curve(one: CellFigures, name: str, legend: Legend) -> Curve | None:
    """The mean over the edits of a cell, as long as its shortest training."""
    curves = [edit["curves"][name] for edit in one.record.edits if name in edit.get("curves", {})]
    if not curves:
        return None
    place, points = legend.place(one.cell), []
    for step, values in enumerate(zip(*curves, strict=False), 1):
        mean, spread = fmean(values), stdev(values) if len(values) > 1 else 0.0
        says = f"{legend.names[place]}, step {step}: {mean:.4g}, n = {len(values)}"
        points.append(Point(step, mean, mean - spread, mean + spread, says))
    return Curve(place, False, tuple(points))


def _distributions(one: CellFigures, legend: Legend) -> Chart:
    """Two bars a token: its probability with the context that teaches, and without it after the edit."""
    learnt, place = one.record.method["learnt"], legend.place(one.cell)
    rows = [
        Bar(f"{token!r} {which} context", place if which == "with" else place + 1, value, f"{value:.1%}")
        for token, *both in zip(learnt["tokens"], learnt["with"], learnt["without"], strict=True)
        for which, value in zip(("with", "without"), both, strict=True)
    ][: 2 * LIKELIEST]
    title = f"{legend.names[place]}: the likeliest tokens"
    return Chart(title, "of the first edit, after its last step", bars(rows, title))
