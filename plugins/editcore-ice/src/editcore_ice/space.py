"""Search space of `editcore tune`: bands of layers at several depths, and boxes from the published one up."""

from collections.abc import Mapping
from typing import Any, Final

from editcore_hooks import Tunable
from editcore_ice.presets import layers_around, width

RECIPES: Final[tuple[Mapping[str, Any], ...]] = (
    {"lr": 7e-4, "linf_radius": 2e-3, "ice_weight": 1.0},
    {"lr": 7e-4, "linf_radius": 5e-4, "ice_weight": 1.0},  # as published
    {"lr": 7e-4, "constraint": "none", "ice_weight": 1.0},  # a box that a step fills holds few facts at once
)
PLACES: Final = 5
TOGETHER: Final = 12
"""Most edits of a trial: a step of many facts with their contexts takes long."""


def space(model: Mapping[str, Any]) -> Tunable:
    """Places evenly spread over the depth but its last eighth, each as wide as the default."""
    n_layers = int(model["n_layers"])
    count = width(n_layers)
    last = max(n_layers - 1 - n_layers // 8, 0)
    bands = dict.fromkeys(layers_around(round(i * last / (PLACES - 1)), count, n_layers) for i in range(PLACES))
    return Tunable(
        places=tuple({"layers": list(band)} for band in bands),
        recipes=RECIPES,
        together=min(int(model.get("edits", 1)), TOGETHER),
    )
