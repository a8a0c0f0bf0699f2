"""Search space of `editcore tune`: runs of layers over the whole depth, and energies with two step sizes."""

from collections.abc import Mapping
from typing import Any, Final

from editcore_crispedit.hparams import layers_by_depth
from editcore_hooks import Tunable
from editcore_keyvalue.hparams import tokens_by_width, tokens_of_gradients

RECIPES: Final[tuple[Mapping[str, Any], ...]] = (
    {"energy": 0.9, "lr": 5e-4, "steps": 60},
    {"energy": 0.99, "lr": 5e-4, "steps": 60},
    {"energy": 0.8, "lr": 5e-4, "steps": 25},  # the published command line
    {"energy": 0.9, "lr": 1e-3, "steps": 60},
)
MOST_PLACES: Final = 5
TOGETHER: Final = 48
"""Most edits of a trial: as many facts as tuning looks for by itself."""


def space(model: Mapping[str, Any]) -> Tunable:
    """The published place first, then single layers spread over the depth."""
    n_layers = int(model["n_layers"])
    layers = sorted({round(i * (n_layers - 1) / (MOST_PLACES - 1)) for i in range(MOST_PLACES)})
    places = [list(layers_by_depth(n_layers)), *([layer] for layer in layers)]
    return Tunable(
        places=tuple({"layers": place} for place in {tuple(one): one for one in places}.values()),
        recipes=RECIPES,
        together=min(int(model.get("edits", 1)), TOGETHER),
        tokens=tokens_by_width(int(model["mlp_width"])) + 3 * tokens_of_gradients(int(model["hidden_size"])),
    )
