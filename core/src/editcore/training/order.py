"""The order of the cases: portion i depends on the seed and on i alone, so that a training can be resumed."""

import random
from typing import Final

from attrs import define, field

_KEPT: Final = 2


@define
class Order:
    """Numbers of `n` cases in portions of `size`, pass after pass, each pass in an order of its own.

    A portion may end one pass and begin the next: no case is left over.
    """

    n: int
    size: int
    seed: int
    _passes: dict[int, list[int]] = field(factory=dict, init=False, repr=False)

    def portion(self, i: int) -> list[int]:
        """The cases of portion `i`, counted from 0; all of them where there are fewer than `size`."""
        size = min(self.size, self.n)
        return [self._pass(at // self.n)[at % self.n] for at in range(i * size, (i + 1) * size)]

    def _pass(self, number: int) -> list[int]:
        if number not in self._passes:
            drawn = random.Random(f"order/{self.seed}/{number}").sample(range(self.n), self.n)
            self._passes = {k: v for k, v in self._passes.items() if k > number - _KEPT} | {number: drawn}
        return self._passes[number]


def held_out(n: int, wanted: int, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the cases to train on and of those to measure on: `wanted` of them, and at most a quarter."""
    drawn = random.Random(f"held out/{seed}").sample(range(n), n)
    cut = min(wanted, n // 4)
    return sorted(drawn[cut:]), sorted(drawn[:cut])
