"""Search space of `editcore tune`: layers, and recipes from the published one to gentler and longer ones."""

from collections.abc import Mapping
from typing import Any, Final

from editcore_hooks import Tunable
from editcore_keyvalue.hparams import tokens_by_width

_GENTLE: Final = {"v_weight_decay": 0.01, "clamp": 8.0, "kl": 0.0625}
_HELD: Final = {**_GENTLE, "kl": 0.5}
"""A larger weight on what the subject is: the loss falls below its stop later, and other facts suffer less for it."""
_FAST: Final = {"v_lr": 0.75, "v_steps": 60, "v_stop": "loss"}
RECIPES: Final[tuple[Mapping[str, Any], ...]] = (
    {"v_lr": None, "v_steps": 60, "v_stop": "target", **_GENTLE},  # short steps find small values, which disturb little
    {**_FAST, **_GENTLE},
    {**_FAST, **_HELD},
    # as published for GPT-2 XL
    {"v_lr": 0.5, "v_steps": 20, "v_stop": "loss", "v_weight_decay": 0.5, "clamp": 4.0, "kl": 0.0625},
)
"""All of them name the same hyper-parameters, so that a preset below them does not make two of them one."""
DEEPEST: Final = 0.75
"""Facts are recalled from the subject's token in early and middle layers; an edit above them comes too late. Nothing
reads the last layer at that token any more. On the demo model, of 8 layers, the best recipe of each has a harmonic mean
of 91, 92, 91, 88, 82, 84, 74 and 0 %."""
MOST_PLACES: Final = 8
MOMENT_BYTES: Final = 6e9
"""For the sums of all layers tried, eight bytes for each of f² entries."""


def space(model: Mapping[str, Any]) -> Tunable:
    """Layers evenly spread from the first up to three quarters of the depth; all of them in a shallow model."""
    fitting = int(MOMENT_BYTES / (8 * model["mlp_width"] ** 2))
    n = max(3, min(MOST_PLACES, fitting))
    deepest = max(1, round(DEEPEST * model["n_layers"]))
    layers = sorted({round(i * (deepest - 1) / max(1, n - 1)) for i in range(n)})
    return Tunable(
        places=tuple({"layer": layer} for layer in layers),
        recipes=RECIPES,
        cheaper={"context_count": 1},
        tokens=tokens_by_width(model["mlp_width"]),
    )
