"""Settings known to work, one file a model: `match` names the model, `ice` its settings, a comment the source."""

from collections.abc import Mapping
from typing import Any, Final

DEPTH: Final = 1 / 4
"""Relative depth of the middle layer without a preset: published are layers 4 to 8 of 32 in Llama-2-7b and 13 to 17 of
48 in gpt2-xl, whose middles lie at 0.19 and 0.31."""
MOST: Final = 5


def find_preset(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the preset for `model` gives; {} when there is none."""
    from editcore.authoring.settings import matching_preset

    return dict(matching_preset(__name__, model).get("ice", {}))


def default_layers(model: Mapping[str, Any]) -> tuple[int, ...]:
    """Neighbouring layers around a quarter of the depth."""
    n_layers = int(model["n_layers"])
    return layers_around(int(n_layers * DEPTH), width(n_layers), n_layers)


def width(n_layers: int) -> int:
    """Number of neighbouring layers: five at most, fewer in a model of less than thirty, and one in a tiny one."""
    return max(1, min(MOST, n_layers // 6))


def layers_around(middle: int, count: int, n_layers: int) -> tuple[int, ...]:
    """`count` layers with `middle` amid them, moved inside the model where they would reach out."""
    first = max(0, min(middle - count // 2, n_layers - count))
    return tuple(range(first, first + count))
