"""Settings known to work, one file a model: `match` says for which, `hparams` what, a comment from where."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

DEPTH: Final = 5 / 32
"""Relative depth without a preset: layer 5 of 32, which the published Llama and GPT-J settings share."""


def find_preset(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `hparams` of the first preset every `match` field of which equals that of `model`; {} when there is none."""
    from editcore.plugins.yaml_text import parse

    folder = files(__name__)
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.endswith(".yaml"):
            preset = parse(path.read_text("utf-8"), f"the preset {path.name}")
            if all(model.get(key) == value for key, value in preset["match"].items()):
                return dict(preset["hparams"])
    return {}


def default_layer(model: Mapping[str, Any]) -> int:
    """The layer to edit in a model without a preset."""
    return int(model["n_layers"] * DEPTH)
