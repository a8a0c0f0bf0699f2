"""The search space for methods that write many facts at once: runs of layers, and recipes of each method.

A weight costs little to try: values are found once for all weights of a place. Light: no torch.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from editcore_hooks import Tunable
from editcore_keyvalue.hparams import tokens_by_width

DEEPEST: Final = 0.5
"""Facts are recalled from the subject's token in early and middle layers."""
SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Facts at once that tuning tells apart: what suits 40 suits 50."""

GENTLE: Final[Mapping[str, Any]] = {"v_weight_decay": 0.01, "clamp": 8.0}
"""Values may go as far as they need: in small models the published bounds do not let them get there."""
PUBLISHED: Final[Mapping[str, Any]] = {"v_weight_decay": 0.5, "clamp": 0.75}

LONG: Final[Mapping[str, Any]] = {"v_lr": 0.75, "v_steps": 60}
"""On a model of Llama's shape the published 20 steps of 0.5 did not find the values of three facts of ten."""


def spread_places(model: Mapping[str, Any], counts: Sequence[int] = (3, 1)) -> tuple[Mapping[str, Any], ...]:
    """Runs of `counts` layers that end in the first half of the depth."""
    n_layers = int(model["n_layers"])
    deepest = min(max(1, round(DEEPEST * n_layers) - 1), n_layers - 1)
    ends = sorted({0, round(deepest / 3), round(2 * deepest / 3), deepest})
    places = ({"layers": list(range(max(0, end - count + 1), end + 1))} for end in ends for count in counts)
    return tuple({str(place): place for place in places}.values())


def together(model: Mapping[str, Any]) -> int:
    """The number of facts that a trial writes at once: the one of SIZES closest to the request by ratio."""
    edits = int(model.get("edits", 1))
    return min(SIZES, key=lambda size: max(size / edits, edits / size))


def spread_space(
    model: Mapping[str, Any], recipes: Sequence[Mapping[str, Any]], counts: Sequence[int] = (3, 1)
) -> Tunable:
    """Every place with every recipe, on the requested number of facts at once."""
    return Tunable(
        places=spread_places(model, counts),
        recipes=tuple(recipes),
        cheaper={"context_count": 2},
        together=together(model),
        tokens=tokens_by_width(int(model["mlp_width"])),
    )
