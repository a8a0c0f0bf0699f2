"""Search space of `editcore tune`: the last block, and the strength of what keeps a neuron silent."""

from collections.abc import Mapping
from typing import Any, Final

from editcore_hooks import Tunable

RECIPES: Final[tuple[Mapping[str, Any], ...]] = (
    {"context_count": 0, "memory_weight": 10.0},  # as published
    {"context_count": 4, "memory_weight": 10.0},
    {"context_count": 4, "memory_weight": 1.0},
)


def space(model: Mapping[str, Any]) -> Tunable:
    """The last block alone: nothing after it can turn a neuron's answer into something else."""
    return Tunable(places=({"layer": int(model["n_layers"]) - 1},), recipes=RECIPES)
