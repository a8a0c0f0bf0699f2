"""What a method hands to the loop: nets with their loss. The loop owns order, optimiser steps, files and early stop."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import nn

from editcore_hooks import Case

Better = Literal["higher", "lower"]


class Learner(Protocol):
    """Nets in float32, whatever the model runs in, and how they learn from cases."""

    @property
    def owner(self) -> str:
        """The distribution of the method."""
        ...

    @property
    def method(self) -> str:
        """The name of the method."""
        ...

    @property
    def figures(self) -> Mapping[str, Better]:
        """The figures of `measure` that may decide which state is kept, and which values are better."""
        ...

    def module(self) -> nn.Module:
        """Everything that is kept: parameters, and buffers such as statistics of the inputs."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """What the nets are made from, as JSON values: sites, sizes, settings of the loss."""
        ...

    def prepare(self, cases: Sequence[Case]) -> None:
        """Collect what is fixed during the training. Not called where a training is resumed."""
        ...

    def optimizer(self) -> torch.optim.Optimizer:
        """A new optimiser of the parameters, with the learning rates at their highest."""
        ...

    def add_gradients(self, cases: Sequence[Case], share: float, rng: random.Random) -> Mapping[str, float]:
        """Add the gradients of `share` times the loss over `cases`; return the losses by name, not multiplied.

        Every choice is drawn from `rng`.
        """
        ...

    def measure(self, cases: Sequence[Case]) -> Mapping[str, float]:
        """Figures over held-out cases, without gradients and without any random choice."""
        ...

    def stepped(self, measured: Mapping[str, float] | None) -> None:
        """Called after each step, with the figures where it was measured: for multipliers and their bounds.

        What it changes must be in the module, or a resumed training would not know it.
        """
        ...
