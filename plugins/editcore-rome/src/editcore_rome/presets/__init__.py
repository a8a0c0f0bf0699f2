"""Settings known to work, one file a model: `match` names the model, `hparams` the settings, a comment the source."""

from collections.abc import Mapping
from typing import Any, Final

DEPTH: Final = 5 / 32
"""Relative depth without a preset: layer 5 of 32, which the published Llama and GPT-J settings share."""


def find_preset(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `hparams` of the preset for `model`; {} when there is none."""
    from editcore.authoring.settings import matching_preset

    return dict(matching_preset(__name__, model).get("hparams", {}))


def default_layer(model: Mapping[str, Any]) -> int:
    """The layer to edit in a model without a preset."""
    return int(model["n_layers"] * DEPTH)
