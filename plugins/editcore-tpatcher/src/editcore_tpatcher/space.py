"""Search space of `editcore tune`: two depths, and the strength of what keeps a neuron silent."""

from collections.abc import Mapping
from typing import Any, Final

from editcore_hooks import Tunable

RECIPES: Final[tuple[Mapping[str, Any], ...]] = (
    {"context_count": 0, "memory_weight": 10.0},  # as published
    {"context_count": 8, "memory_weight": 10.0},
    {"context_count": 8, "memory_weight": 1.0},
)


def default_layer(n_layers: int) -> int:
    """The last, as published: nothing after it can turn an answer into something else."""
    return n_layers - 1


def space(model: Mapping[str, Any]) -> Tunable:
    """The last block, and that at two thirds of the depth; the README has figures of both."""
    n_layers = int(model["n_layers"])
    return Tunable(
        places=tuple({"layer": layer} for layer in dict.fromkeys((default_layer(n_layers), 2 * n_layers // 3))),
        recipes=RECIPES,
    )
