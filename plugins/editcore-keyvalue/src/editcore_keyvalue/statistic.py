"""The two statistics of a layer that a pass over text can collect, each an asset of its own kind."""

from collections.abc import Callable
from typing import Final

from attrs import frozen

from editcore_hooks import Anatomy
from editcore_keyvalue.gradients import GradientAccumulator
from editcore_keyvalue.hparams import tokens_by_width, tokens_of_gradients
from editcore_keyvalue.moments import Accumulator


@frozen
class Statistic:
    """`kind` is that of its assets, `of` what the moment is of, in words, `option` how `editcore stats` is asked for
    it. `tokens` gives the number to read by default."""

    kind: str
    of: str
    option: str
    accumulator: type[Accumulator]
    tokens: Callable[[Anatomy], int]


KEYS: Final = Statistic("second_moment", "keys", "", Accumulator, lambda anatomy: tokens_by_width(anatomy.mlp_width))
"""A = C = E[k kᵀ] (f, f)."""
GRADIENTS: Final = Statistic(
    "gradient_moment",
    "output gradients",
    " --of gradients",
    GradientAccumulator,
    lambda anatomy: tokens_of_gradients(anatomy.hidden_size),
)
"""B = E[g gᵀ] (d, d)."""
