"""How figures are written: the same words in a terminal, in CSV and on the page."""

from functools import cache
from typing import Final

from editcore.plugins.registry import registry
from editcore_bench.report.figures import MOMENTS, CellFigures, Figure, early, is_share

LOWER_IS_BETTER: Final = ("loc.kl@", "damage.", "ppl_r", "cost.")
"""Beginnings of metrics where a small value is a good one; of the others a large one is."""


def better_low(metric: str) -> bool:
    return metric.startswith(LOWER_IS_BETTER)


@cache
def of_model(metric: str) -> bool:
    """Whether it says something of the model and nothing of a case."""
    return bool(getattr(registry().metrics.classes().get(metric), "of_model", False))


def value_text(metric: str, value: float) -> str:
    return f"{100 * value:.1f}" if is_share(metric) else f"{value:.3g}"


def interval_text(figure: Figure) -> str:
    return f"{value_text(figure.metric, figure.low)} to {value_text(figure.metric, figure.high)}"


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
