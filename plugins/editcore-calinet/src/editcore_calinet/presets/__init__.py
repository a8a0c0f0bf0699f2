"""Settings known to work, one file a model: `match` names the model, `calinet` its settings, a comment the source."""

from collections.abc import Mapping
from typing import Any, Final

DEPTH: Final = 1 / 4
"""Relative depth of a decoder without a preset: early enough that later blocks read the fact off its subject."""


def find_preset(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of the preset for `model`; {} without one."""
    from editcore.authoring.settings import matching_preset

    return dict(matching_preset(__name__, model).get("calinet", {}))


def default_layers(model: Mapping[str, Any]) -> tuple[int, ...]:
    """The block that gets slots in a model without a preset. Beside an encoder it is the last, as published."""
    n_layers = int(model["n_layers"])
    return (n_layers - 1 if model.get("encoder_decoder") else int(n_layers * DEPTH),)
