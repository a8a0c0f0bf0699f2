"""Search space of `editcore tune`: one layer of each part of the depth, and step sizes."""

from collections.abc import Mapping
from typing import Any, Final

from editcore_hooks import Tunable

RECIPES: Final[tuple[Mapping[str, Any], ...]] = (
    {"lr": 2e-3, "steps": 50},
    {"lr": 5e-3, "steps": 50},  # as published
    {"lr": 1e-3, "steps": 50},
)
MOST_PLACES: Final = 6
TOGETHER: Final = 48
"""Most edits of a trial: as many facts as tuning looks for by itself."""


def space(model: Mapping[str, Any]) -> Tunable:
    """Layers evenly spread over the whole depth."""
    last = int(model["n_layers"]) - 1
    layers = sorted({round(i * last / (MOST_PLACES - 1)) for i in range(MOST_PLACES)})
    return Tunable(
        places=tuple({"layers": [layer]} for layer in layers),
        recipes=RECIPES,
        together=min(int(model.get("edits", 1)), TOGETHER),
    )
