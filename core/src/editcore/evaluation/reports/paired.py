"""The mean difference of two models over the same cases, with a 95 % interval: both answered each case."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean

from attrs import frozen

from editcore.evaluation.reports.intervals import Z95, normal


@frozen
class PairedDifference:
    """`mean` of b - a over `n` cases, and the interval."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired(a: Sequence[float], b: Sequence[float], *, share: bool) -> PairedDifference:
    """Compare the values of the same cases, in the same order; at least one.

    Values in [0, 1] have the interval of Bonett and Price (Statistics in Medicine 31, 2012): two differences, +1 and
    -1, are added to the n that were seen. So ten cases without any difference still leave room for one. Other values
    have mean ± z s / √n.
    """
    gaps = [after - before for before, after in zip(a, b, strict=True)]
    n, mean = len(gaps), fmean(gaps)
    if not share:
        return PairedDifference(mean, *normal(gaps), n)
    centre = sum(gaps) / (n + 2)
    half = Z95 * sqrt(((sum(gap * gap for gap in gaps) + 2) / (n + 2) - centre * centre) / (n + 2))
    # the interval is about `centre`, which is nearer to zero than the mean; it holds the mean all the same
    return PairedDifference(mean, max(-1.0, min(mean, centre - half)), min(1.0, max(mean, centre + half)), n)
