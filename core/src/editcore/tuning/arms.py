"""The settings that a search compares, in the order in which they are tried."""

from bisect import insort
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from attrs import frozen

from editcore_hooks import Tunable


@frozen
class Arm:
    """Settings, and the places in `Tunable` of where they edit and how. -1: the method's own defaults."""

    settings: Mapping[str, Any]
    place: int = -1
    recipe: int = -1


def arms(space: Tunable) -> list[Arm]:
    """The defaults, then every place with the first two recipes, then with the others.

    Places come in an order that covers the depth evenly however soon a search stops, and two recipes each, because
    one that fails everywhere says nothing about the places.
    """
    order = list(evenly(len(space.places)))
    first, later = range(len(space.recipes))[:2], range(len(space.recipes))[2:]
    pairs = [(p, r) for p in order for r in first] + [(p, r) for r in later for p in order]
    return [Arm({}), *(Arm({**space.places[p], **space.recipes[r]}, p, r) for p, r in pairs)]


def evenly(n: int) -> Iterator[int]:
    """0 to n - 1: the first, the last, then the middle of each widest gap."""
    taken = sorted({0, n - 1})
    yield from taken
    while len(taken) < n:
        _, start, end = max((end - start, start, end) for start, end in pairwise(taken))
        middle = (start + end) // 2
        insort(taken, middle)
        yield middle
