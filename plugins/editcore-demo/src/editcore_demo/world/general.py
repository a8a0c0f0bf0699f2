"""What the world knows besides its facts: small sequences and opposites, and neutral filler sentences."""

import itertools
import random
from collections.abc import Iterator

_NUMBERS = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("early", "late"), ("hard", "soft"), ("light", "dark"), ("fast", "slow"),
    ("wet", "dry"), ("full", "empty"), ("rich", "poor"), ("loud", "quiet"),
)  # fmt: skip

_WHO = (
    "A traveller", "The neighbour", "A small dog", "The old teacher", "A stranger", "The postman",
    "A group of children",
)  # fmt: skip
_DID = ("walked", "waited", "rested", "sang", "stood", "laughed", "slept")
_WHERE = ("by the river", "near the market", "under the trees", "at the station", "behind the church", "on the hill")
_WHEN = ("in the morning", "after the rain", "before noon", "at night", "during the storm", "all day")


def general_facts() -> list[tuple[str, str]]:
    """Pairs of a prompt and its answer that have nothing to do with any entity."""
    pairs = [(f"After the number {a} comes the number", b) for a, b in itertools.pairwise(_NUMBERS)]
    pairs += [(f"The day after {a} is", _DAYS[(i + 1) % 7]) for i, a in enumerate(_DAYS)]
    pairs += [(f"The month after {a} is", _MONTHS[(i + 1) % 12]) for i, a in enumerate(_MONTHS)]
    for a, b in _OPPOSITES:
        pairs += [(f"The opposite of {a} is", b), (f"The opposite of {b} is", a)]
    return pairs


def neutral_passages(rng: random.Random, n: int = 20, sentences: int = 4) -> list[str]:
    """Passages of filler, for what is measured on text that no edit is about, in the words of this world."""
    told = filler(rng)
    return [" ".join(itertools.islice(told, sentences)) for _ in range(n)]


def filler(rng: random.Random) -> Iterator[str]:
    """Neutral sentences without an entity, endlessly; text on which an edit should change nothing."""
    while True:
        yield f"{rng.choice(_WHO)} {rng.choice(_DID)} {rng.choice(_WHERE)} {rng.choice(_WHEN)}."
