"""Search space of `editcore tune`: one layer of each part of the depth, and step sizes."""

from collections.abc import Mapping
from typing import Any, Final

from editcore_hooks import Tunable

RECIPES: Final[tuple[Mapping[str, Any], ...]] = (
    {"lr": 3e-3, "key_init": "states", "spare_weight": 4.0},
    {"lr": 1e-3, "key_init": "states", "spare_weight": 4.0},
    {"lr": 3e-3, "key_init": "random", "spare_weight": 1.0},
    {"lr": 1e-2, "key_init": "random", "spare_weight": 0.0},  # as published, but for the optimiser
)
MOST_PLACES: Final = 6
TOGETHER: Final = 48
"""Most edits of a trial."""


def space(model: Mapping[str, Any]) -> Tunable:
    """Layers evenly spread over the whole depth. The published one is the last, of a decoder that reads no subject."""
    last = int(model["n_layers"]) - 1
    layers = sorted({round(i * last / (MOST_PLACES - 1)) for i in range(MOST_PLACES)})
    return Tunable(
        places=tuple({"layers": [layer]} for layer in layers),
        recipes=RECIPES,
        together=min(int(model.get("edits", 1)), TOGETHER),
    )
