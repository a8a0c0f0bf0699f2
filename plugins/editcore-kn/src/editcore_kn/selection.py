"""Choose the units of a fact: strong for a prompt, and shared by prompts that ask for the same.

Dai et al. 2022, section 3.2: what is strong for one prompt alone belongs to its words.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from attrs import frozen
from torch import Tensor

Unit = tuple[int, int]
"""Index of a site, index of a unit."""
STEP: Final = 0.05
MOVES: Final = 6


@frozen
class Chosen:
    """The units, in order, and the share of the prompts that they had to be strong for."""

    units: tuple[Unit, ...]
    share: float


def strong(attribution: Tensor, threshold: float) -> set[Unit]:
    """Units of one prompt (sites, f) above `threshold` times the largest attribution; none where none is positive."""
    largest = float(attribution.max())
    if largest <= 0:
        return set()
    return {(int(i), int(j)) for i, j in (attribution > threshold * largest).nonzero()}


def common(others: Sequence[set[Unit]], share: float) -> set[Unit]:
    """Units strong for more than `share` of other subjects: they belong to the relation, not to a fact."""
    counts = Counter(unit for units in others for unit in units)
    return {unit for unit, n in counts.items() if n > share * len(others)}


def shared(prompts: Sequence[set[Unit]], share: float, fewest: int, most: int) -> Chosen:
    """Units strong for at least `share` of the prompts; it is moved up to six times while they are too few or many.

    Raising it stops before fewer than `fewest` are left.
    """
    counts = Counter(unit for units in prompts for unit in units)

    def reaching(share: float) -> tuple[Unit, ...]:
        return tuple(sorted(unit for unit, n in counts.items() if n >= share * len(prompts) - 1e-9))

    units = reaching(share)
    for _ in range(MOVES):
        few = len(units) < fewest
        moved = round(share - STEP if few else share + STEP, 2)
        if fewest <= len(units) <= most or not 0 < moved <= 1:
            break
        after = reaching(moved)
        if not few and len(after) < fewest:
            break
        share, units = moved, after
        if few and len(units) > most:
            break
    return Chosen(units, share)
