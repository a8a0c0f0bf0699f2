"""Charts as SVG, drawn by hand: no library, no script, colours by CSS class so that both colour schemes fit."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from attrs import frozen

WIDTH: Final = 360
HEIGHT: Final = 230
LEFT, RIGHT, TOP, BOTTOM = 42, 14, 12, 34
MARKS: Final = ("circle", "square", "triangle", "diamond", "down", "plus", "bar", "star")


@frozen
class Point:
    x: float
    y: float
    low: float
    high: float
    says: str


@frozen
class Curve:
    """`series` is the place of its name in the legend: the same colour and mark on every chart of a page."""

    series: int
    dashed: bool
    points: tuple[Point, ...]


def lines(curves: Sequence[Curve], label: str, x_label: str, share: bool) -> str:
    """A line chart with intervals. x is logarithmic beyond a decade; a share is shown from 0 to 100 %.

    `label` is read out in place of the picture.
    """
    points = [point for curve in curves for point in curve.points]
    xs = sorted({point.x for point in points})
    logarithmic = xs[-1] / max(xs[0], 1) > 10
    low, high = (0.0, 1.0) if share else _span([value for point in points for value in (point.low, point.high)])

    def place_x(x: float) -> float:
        if len(xs) == 1:
            return (LEFT + WIDTH - RIGHT) / 2
        scale = math.log if logarithmic else float
        part = (scale(x) - scale(xs[0])) / (scale(xs[-1]) - scale(xs[0]))
        return LEFT + 8 + part * (WIDTH - RIGHT - LEFT - 16)

    def place_y(y: float) -> float:
        part = (min(max(y, low), high) - low) / (high - low)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    for value in _ticks(low, high):
        y = place_y(value)
        text = f"{100 * value:.0f}" if share else f"{value:g}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 7}" y="{y + 3.5:.1f}" text-anchor="end">{text}</text>')
    shown = _apart(xs, place_x)
    for x in xs:
        parts.append(f'<line class="axis" x1="{place_x(x):.1f}" x2="{place_x(x):.1f}" y1="{HEIGHT - BOTTOM}" '
                     f'y2="{HEIGHT - BOTTOM + 4}"/>')  # fmt: skip
        if x in shown:
            parts.append(
                f'<text class="tick" x="{place_x(x):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>'
            )
    parts.append(f'<text class="tick" x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{escape(x_label)}</text>')
    for number, curve in enumerate(curves):
        # curves that meet at one x stand a little apart, or one interval would hide the other
        shift = (number - (len(curves) - 1) / 2) * 2.4 if len(curves) > 1 else 0.0
        at = [(place_x(point.x) + shift, place_y(point.y), point) for point in curve.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in at)
        parts.append(f'<g class="s{curve.series % 8}{" dashed" if curve.dashed else ""}">')
        for x, _, point in at:
            parts.append(
                f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" y1="{place_y(point.low):.1f}" '
                f'y2="{place_y(point.high):.1f}"/>'
            )
        if len(at) > 1:
            parts.append(f'<polyline class="curve" points="{path}"/>')
        for x, y, point in at:
            parts.append(f"<g>{mark(MARKS[curve.series % len(MARKS)], x, y)}<title>{escape(point.says)}</title></g>")
        parts.append("</g>")
    return "".join([*parts, "</svg>"])


@frozen
class Bar:
    name: str
    series: int
    value: float
    says: str


def bars(rows: Sequence[Bar], label: str) -> str:
    """Horizontal bars from zero, each with its name above and its value at its end."""
    step, most = 38, max((row.value for row in rows), default=0) or 1
    height = step * len(rows) + 4
    room = WIDTH - 78  # the longest value text stands beside the longest bar
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">']
    for number, row in enumerate(rows):
        top = number * step
        width = max(1.5, room * row.value / most)
        parts.append(f'<g class="s{row.series % 8}">')
        parts.append(f'<text class="name" x="0" y="{top + 13}">{escape(row.name)}</text>')
        parts.append(f'<rect class="bar" x="0" y="{top + 18}" width="{width:.1f}" height="12" rx="2.5"/>')
        parts.append(f'<text class="value" x="{width + 7:.1f}" y="{top + 28}">{escape(row.says)}</text></g>')
    return "".join([*parts, "</svg>"])


def mark(kind: str, x: float, y: float) -> str:
    """A point's mark: series differ in shape as well as in colour."""
    r = 4.2
    if kind == "circle":
        return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    if kind == "square":
        side = 2 * r - 0.8
        return f'<rect class="mark" x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" width="{side}" height="{side}"/>'
    corners = {
        "triangle": ((0, -r - 0.6), (r + 0.6, r), (-r - 0.6, r)),
        "diamond": ((0, -r - 1.2), (r + 1.2, 0), (0, r + 1.2), (-r - 1.2, 0)),
        "down": ((0, r + 0.6), (r + 0.6, -r), (-r - 0.6, -r)),
        "plus": ((-1.5, -r), (1.5, -r), (1.5, -1.5), (r, -1.5), (r, 1.5), (1.5, 1.5), (1.5, r), (-1.5, r), (-1.5, 1.5),
                 (-r, 1.5), (-r, -1.5), (-1.5, -1.5)),
        "bar": ((-r - 0.8, -2), (r + 0.8, -2), (r + 0.8, 2), (-r - 0.8, 2)),
        "star": ((0, -r - 1.4), (1.5, -1.5), (r + 1.4, 0), (1.5, 1.5), (0, r + 1.4), (-1.5, 1.5), (-r - 1.4, 0),
                 (-1.5, -1.5)),
    }[kind]  # fmt: skip
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon class="mark" points="{points}"/>'


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(0.0, *values), max(values)
    return (low, high) if high > low else (low, low + 1.0)


def _ticks(low: float, high: float) -> list[float]:
    """Four to six round values within the span."""
    rough = (high - low) / 4
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    return [step * number for number in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]


def _apart(xs: Sequence[float], place: Callable[[float], float]) -> set[float]:
    """Those of `xs` whose labels do not touch the one before; the last is always among them."""
    chosen: list[float] = []
    for x in reversed(xs):
        if not chosen or place(chosen[-1]) - place(x) > 24:
            chosen.append(x)
    return set(chosen)
