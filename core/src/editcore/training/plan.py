"""The plan of a training: how long it is, in which portions it goes, when it is measured and when it stops."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from attrs import frozen, validators

from editcore.plugins.hparams import merge
from editcore_hooks import hparam

_positive = validators.gt(0)
_not_negative = validators.ge(0)


@frozen
class Plan:
    """Settings of the loop. What a method learns with, such as its learning rates, is a hyper-parameter of the method.

    Numbers of steps count updates of the optimiser.
    """

    steps: int = hparam(1000, help="largest number of steps", validator=_positive)
    batch: int = hparam(16, help="cases a portion", validator=_positive)
    accumulate: int = hparam(1, help="portions whose gradients are averaged for a step", validator=_positive)
    warmup: int = hparam(20, help="steps in which the learning rates rise from zero", validator=_not_negative)
    decay: Literal["none", "linear", "cosine"] = hparam("cosine", help="how the learning rates fall to a fiftieth")
    clip: float = hparam(1.0, help="largest norm of all gradients together", validator=_positive)
    validation: int = hparam(64, help="cases held out of the training and measured", validator=_positive)
    every: int = hparam(100, help="steps between two measurements", validator=_positive)
    patience: int = hparam(0, help="measurements without a better figure until it stops; 0: it never stops early",
                           validator=_not_negative)  # fmt: skip
    stop_on: str = hparam("", help="figure that decides which state is kept; empty: the first of the method's figures")

    def rate(self, step: int) -> float:
        """The factor of the learning rates at a step, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        match self.decay:
            case "none":
                left = 1.0
            case "linear":
                left = 1.0 - done
            case "cosine":
                left = 0.5 * (1 + math.cos(math.pi * done))
        return 0.02 + 0.98 * left


def plan_of(*layers: tuple[str, Mapping[str, Any]]) -> Plan:
    """The plan of layers of values, each (source, values). Raises `UsageError` for what is unknown or out of range."""
    plan: Plan = merge(Plan, *layers).hparams
    return plan
