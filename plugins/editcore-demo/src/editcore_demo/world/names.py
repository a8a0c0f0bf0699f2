"""Names put together from shared parts, so that no single part tells who is meant."""

import itertools
import random
from collections.abc import Iterator, Sequence

from editcore_demo.world import vocabulary as v

GIVEN_NAMES_IN_USE = 56
FAMILY_NAMES_IN_USE = 56


def people(rng: random.Random, n: int) -> tuple[str, ...]:
    """`n` different full names; every given name and every family name belongs to several people."""
    given = rng.sample(_joined(v.GIVEN_STARTS, v.GIVEN_ENDS), GIVEN_NAMES_IN_USE)
    family = rng.sample(_joined(v.FAMILY_STARTS, v.FAMILY_ENDS), FAMILY_NAMES_IN_USE)
    return tuple(_pairs(rng, given, family, n))


def titles(rng: random.Random, n: int) -> tuple[str, ...]:
    """`n` different titles of works such as "The Amber Lantern"."""
    return tuple(f"The {pair}" for pair in _pairs(rng, v.TITLE_ADJECTIVES, v.TITLE_NOUNS, n))


def nicknames(rng: random.Random, n: int) -> tuple[str, ...]:
    """`n` different nicknames such as "Old Heron"."""
    return tuple(_pairs(rng, v.ALIAS_ADJECTIVES, v.ALIAS_ANIMALS, n))


def strangers(rng: random.Random) -> Iterator[str]:
    """Full names of the same making, endlessly, from all parts: what the tokenizer learns name parts from."""
    given, family = _joined(v.GIVEN_STARTS, v.GIVEN_ENDS), _joined(v.FAMILY_STARTS, v.FAMILY_ENDS)
    while True:
        yield f"{rng.choice(given)} {rng.choice(family)}"


def _joined(starts: Sequence[str], ends: Sequence[str]) -> list[str]:
    return [a + b for a, b in itertools.product(starts, ends)]


def _pairs(rng: random.Random, first: Sequence[str], second: Sequence[str], n: int) -> list[str]:
    # Even use: first parts take turns, and each meets one of the least used second parts that it has not met yet.
    used = dict.fromkeys(second, 0)
    names: list[str] = []
    for k in range(n):
        one = first[k % len(first)]
        free = [other for other in second if f"{one} {other}" not in names]
        least = min(used[other] for other in free)
        chosen = rng.choice([other for other in free if used[other] == least])
        used[chosen] += 1
        names.append(f"{one} {chosen}")
    return names
