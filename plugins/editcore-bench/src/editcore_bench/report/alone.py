"""Charts side by side as one SVG that needs no page: with a legend, and the page's light colours written into it."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from editcore_bench.report.charts import HEIGHT, MARKS, WIDTH, mark
from editcore_bench.report.drawing import Chart

GAP, HEAD, ROW = 24, 40, 18
_STYLE: Final = """
text { font: 11px system-ui, sans-serif; fill: #65656e } .title { font-size: 13px; fill: #1d1d22 }
.grid { stroke: #e3e1dc } .axis { stroke: #65656e } .curve { fill: none; stroke-width: 2 } .interval { opacity: .38 }
"""


def side_by_side(charts: Sequence[Chart], names: Sequence[str]) -> str:
    """The charts in one row, each under its title, and below them the names of the series with their marks."""
    width = len(charts) * (WIDTH + GAP)
    height = HEAD + HEIGHT + GAP + ROW * len(names)
    light = Path(__file__).with_name("page.css").read_text("utf-8").partition("@media")[0]
    colours = "".join(
        f".s{i} .curve, .s{i} .interval {{ stroke: {colour} }} .s{i} .mark {{ fill: {colour} }}\n"
        for i, colour in re.findall(r"--c(\d): (#\w+)", light)
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="{escape("; ".join(chart.title for chart in charts))}">',
        f'<style>{_STYLE}{colours}</style><rect width="100%" height="100%" fill="#fff"/>',
    ]
    for number, chart in enumerate(charts):
        x = number * (WIDTH + GAP) + GAP / 2
        parts.append(f'<text class="title" x="{x + 8}" y="18">{escape(chart.title)}</text>')
        parts.append(f'<text x="{x + 8}" y="33">{escape(chart.note)}</text>')
        parts.append(chart.svg.replace("<svg ", f'<svg x="{x}" y="{HEAD}" width="{WIDTH}" height="{HEIGHT}" ', 1))
    for number, name in enumerate(names):
        y = HEAD + HEIGHT + GAP / 2 + ROW * number
        drawn = mark(MARKS[number % len(MARKS)], GAP, y)
        parts.append(f'<g class="s{number % 8}">{drawn}<text x="{GAP + 12}" y="{y + 4}">{escape(name)}</text></g>')
    return "\n".join([*parts, "</svg>"]) + "\n"
