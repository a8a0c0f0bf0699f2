"""What `editcore tune` tries: layers, and weights of ordinary keys, on as many facts at once as asked."""

from collections.abc import Mapping
from typing import Any, Final

from editcore_hooks import Tunable
from editcore_keyvalue.hparams import tokens_by_width
from editcore_memit.weight import DIRECTIONS

TOGETHER: Final = 48
"""Most edits of a trial: as many facts as tuning looks for by itself."""
DEEPEST: Final = 0.5
_GENTLE: Final = {
    "v_lr": 0.5, "v_steps": 20, "v_weight_decay": 0.01, "clamp": 8.0, "context_spread": True, "mom2_ridge": 0.01,
}  # fmt: skip
_PUBLISHED: Final = {
    "v_lr": 0.5, "v_steps": 20, "v_weight_decay": 0.5, "clamp": 0.75, "context_spread": False, "mom2_ridge": 1e-6,
}  # fmt: skip


def space(model: Mapping[str, Any]) -> Tunable:
    """Runs of layers that end in the first half of the depth, alone or three together; weights by the keys' width.

    A weight costs little to try: values are found once for all weights of a place.
    """
    n_layers, width = int(model["n_layers"]), int(model["mlp_width"])
    deepest = max(1, round(DEEPEST * n_layers) - 1)
    ends = sorted({0, round(deepest / 3), round(2 * deepest / 3), deepest})
    places = tuple({"layers": list(range(max(0, end - count + 1), end + 1))} for end in ends for count in (3, 1))
    weights = [DIRECTIONS * width * factor for factor in (1.0, 0.1, 10.0)]
    recipes = (*({**_GENTLE, "mom2_weight": w} for w in weights), {**_PUBLISHED, "mom2_weight": 10 * weights[0]})
    return Tunable(
        places=tuple({str(place): place for place in places}.values()),
        recipes=recipes,
        cheaper={"context_count": 2},
        together=min(int(model.get("edits", 1)), TOGETHER),
        tokens=tokens_by_width(width),
    )
