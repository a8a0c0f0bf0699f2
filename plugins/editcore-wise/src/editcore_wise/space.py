"""Search space of `editcore tune`: two depths, and how far a prompt may be from an edit."""

from collections.abc import Mapping
from typing import Any, Final

from editcore_hooks import Tunable

DEPTH: Final = 0.87
"""Relative depth without a setting: published layers are 27 of 0 to 31 and of 0 to 27, 29 of 31, 23 of 27, 21 of 27."""

RECIPES: Final[tuple[Mapping[str, Any], ...]] = ({"act_ratio": 0.5}, {"act_ratio": 0.7}, {"act_ratio": 0.88})


def default_layer(n_layers: int) -> int:
    """The layer of a model without a preset."""
    return round(DEPTH * (n_layers - 1))


def space(model: Mapping[str, Any]) -> Tunable:
    """The default layer, and the one at two thirds of the depth."""
    n_layers = int(model["n_layers"])
    layers = dict.fromkeys((default_layer(n_layers), 2 * n_layers // 3))
    return Tunable(places=tuple({"layer": layer} for layer in layers), recipes=RECIPES)
