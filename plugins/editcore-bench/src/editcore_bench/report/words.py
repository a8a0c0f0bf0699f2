"""How figures are written: the same words in a terminal, in CSV and on the page."""

import math
from collections.abc import Mapping
from functools import cache
from typing import Final, Literal

from editcore.authoring.settings import registry
from editcore_bench.report.figures import MOMENTS, CellFigures, Figure, early, is_share

Side = Literal["high", "low", "one", "none"]
"""Where good values lie: `one` is a ratio to the unedited model, which neither a rise nor a fall improves."""

_SIDES: Final[Mapping[str, Side]] = {"loc.kl": "low", "damage.kl": "low", "damage.ppl": "one"}
"""By the beginning of a metric's name. Of the others a large share is good; what is no share, such as fluency and
`ppl_r`, has no good side: random words have the highest entropy."""


def good_side(metric: str) -> Side:
    named = next((side for beginning, side in _SIDES.items() if metric.startswith(beginning)), None)
    return named or ("high" if is_share(metric) else "none")


def goodness(metric: str, value: float) -> float | None:
    """A number that grows as the value becomes better; None where the metric has no good side."""
    match good_side(metric):
        case "high":
            return value
        case "low":
            return -value
        case "one":
            return -abs(math.log(max(value, 1e-300)))  # half and twice are equally far from 1
        case "none":
            return None


@cache
def of_model(metric: str) -> bool:
    """Whether it says something of the model and nothing of a case."""
    return bool(getattr(registry().metrics.classes().get(metric), "of_model", False))


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
