"""Search space of `editcore tune`: one layer of each part of the depth, and step sizes with enough steps."""

from collections.abc import Mapping
from typing import Any, Final

from editcore_hooks import Tunable

_FREE: Final[tuple[Mapping[str, Any], ...]] = (
    {"lr": 3.5e-4, "steps": 60},
    {"lr": 1e-4, "steps": 60},
    {"lr": 5e-4, "steps": 25},  # as published
    {"lr": 1e-3, "steps": 25},
)
_BOXED: Final[tuple[Mapping[str, Any], ...]] = (
    {"lr": 5e-4, "steps": 60, "linf_radius": 3e-3},
    {"lr": 5e-4, "steps": 25, "linf_radius": 5e-4},  # as published for gpt2-xl
    {"lr": 5e-4, "steps": 25, "linf_radius": 2e-3},  # as published for gpt2-medium
    {"lr": 1e-3, "steps": 60, "linf_radius": 5e-3},
)
RECIPES: Final[Mapping[str, tuple[Mapping[str, Any], ...]]] = {
    "ft": tuple({**recipe, "constraint": "none"} for recipe in _FREE),
    "ft-l": tuple({**recipe, "constraint": "linf"} for recipe in _BOXED),
    "ft-m": tuple({**recipe, "constraint": "none"} for recipe in _FREE),
    "ft-t": tuple({**recipe, "constraint": "none"} for recipe in _FREE),
    "locft": ({"lr": 5e-4}, {"lr": 1e-4}, {"lr": 1.5e-3}),  # the first as published for 7B and 8B
}
"""By method. All of a method name the same hyper-parameters, so that a preset below them does not make two one."""
MOST_PLACES: Final = 6
TOGETHER: Final = 48
"""Most edits of a trial: as many facts as tuning looks for by itself."""
LOCFT_PLACES: Final = 8
LOCFT_TOGETHER: Final = 100
"""Edits of a trial of `locft`, whatever the number to write: alone every place writes a fact, and of many at once the
places differ in paraphrases and damage. arXiv:2509.22072 finds no relative depth that suits all models."""


def space(model: Mapping[str, Any], method: str) -> Tunable:
    """Layers evenly spread over the whole depth: published settings train the first, the last, and what is between."""
    many = method == "locft"
    last, most = int(model["n_layers"]) - 1, LOCFT_PLACES if many else MOST_PLACES
    layers = sorted({round(i * last / (most - 1)) for i in range(most)})
    return Tunable(
        places=tuple({"layers": [layer]} for layer in layers),
        recipes=RECIPES[method],
        together=LOCFT_TOGETHER if many else min(int(model.get("edits", 1)), TOGETHER),
    )
