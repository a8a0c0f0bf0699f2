"""How much ordinary keys weigh where nobody said so."""

from typing import Final

WEIGHT: Final = 15_000.0


def default_weight(n: int) -> float:
    return WEIGHT
