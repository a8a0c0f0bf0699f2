"""The wording of figures: the same in a terminal, in CSV and on the page."""

import math
from functools import cache

from editcore.authoring.settings import registry
from editcore_bench.report.figures import MOMENTS, CellFigures, Figure, early, is_share
from editcore_hooks.plugins import Better


def good_side(metric: str) -> Better:
    """The metric's word on which values are good; `neither` for a metric that is not installed."""
    known = registry().metrics.find(metric)
    return known.better if known is not None else "neither"


def goodness(metric: str, value: float) -> float | None:
    """A number that grows as the value becomes better; None where the metric has no good side."""
    match good_side(metric):
        case "higher":
            return value
        case "lower":
            return -value
        case "near 1":
            return -abs(math.log(max(value, 1e-300)))  # half and twice are equally far from 1
        case "neither":
            return None


@cache
def of_model(metric: str) -> bool:
    """Whether it says something of the model and nothing of a case."""
    known = registry().metrics.find(metric)
    return known is not None and known.of_model


def value_text(metric: str, value: float) -> str:
    return f"{100 * value:.1f}" if is_share(metric) else f"{value:.3g}"


def interval_text(figure: Figure) -> str:
    return f"{value_text(figure.metric, figure.low)} to {value_text(figure.metric, figure.high)}"


def between_text(figure: Figure) -> str:
    """The interval and how many it is over, short enough to stand at the value: `12–59, n 8`."""
    whole = is_share(figure.metric)  # a tenth of a percent is nothing that an interval over cases can tell
    low, high = (f"{100 * end:.0f}" if whole else value_text(figure.metric, end) for end in (figure.low, figure.high))
    return f"{low}–{high}, n {figure.n}"


def moment_text(cells: CellFigures, phase: str) -> str:
    """When, in words: `right after`, `all at the end`."""
    match phase:
        case "gap":
            return f"{cells.cell.protocol.gap} edits later"
        case "retained":
            return f"kept of the first {early(cells.cell)}"
        case _:
            return MOMENTS[phase]


def bytes_text(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def seconds_text(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
