"""Settings known to work, one file a model: `match` names the model, each method's name its settings, a comment the
source."""

from collections.abc import Mapping
from typing import Any, Final

DEPTH: Final = 1 / 4
"""Relative depth without a preset. The settings published with ICE (arXiv:2406.11194) for FT-L and FT-M train layers
4 to 8 of 32 in Llama-2-7b and 13 to 17 of 48 in gpt2-xl: their middles lie at 0.19 and 0.31."""


def find_preset(model: Mapping[str, Any], method: str) -> Mapping[str, Any]:
    """The settings of the preset for `model` and `method`; {} without one."""
    from editcore.authoring.settings import matching_preset

    return dict(matching_preset(__name__, model).get(method, {}))


def default_layers(model: Mapping[str, Any]) -> tuple[int, ...]:
    """The layer to train in a model without a preset."""
    return (int(model["n_layers"] * DEPTH),)
