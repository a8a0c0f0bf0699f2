"""Confidence intervals over cases."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Final

Z95: Final = 1.959963984540054


def wilson(mean: float, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of `mean` over `n` cases, each scored in [0, 1].

    For yes-or-no scores it is the usual interval; for fractions within a case it errs on the wide side, since no
    distribution on [0, 1] with that mean varies more than the yes-or-no one.
    """
    if n == 0:
        return 0.0, 1.0
    z2 = Z95 * Z95
    centre = (mean + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * sqrt(mean * (1 - mean) / n + z2 / (4 * n * n))
    # At 0 and 1 the interval's end is the mean itself, which rounding must not miss.
    return (0.0 if mean == 0 else max(0.0, centre - half)), (1.0 if mean == 1 else min(1.0, centre + half))


def normal(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of values that have no bounds, mean ± z s / √n; of one value, the value itself."""
    if len(values) < 2:
        return values[0], values[0]
    mean, half = fmean(values), Z95 * stdev(values) / sqrt(len(values))
    return mean - half, mean + half
