"""Settings known to work, one file a model: `match` says for which, each method's name what, a comment from where."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

DEPTH: Final = 1 / 4
"""Relative depth without a preset. The settings published with ICE (arXiv:2406.11194) for FT-L and FT-M train layers
4 to 8 of 32 in Llama-2-7b and 13 to 17 of 48 in gpt2-xl: their middles lie at 0.19 and 0.31."""


def find_preset(model: Mapping[str, Any], method: str) -> Mapping[str, Any]:
    """What the first preset gives for `method` every `match` field of which equals that of `model`; {} if none does."""
    from editcore.plugins.yaml_text import parse

    folder = files(__name__)
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.endswith(".yaml"):
            preset = parse(path.read_text("utf-8"), f"the preset {path.name}")
            if all(model.get(key) == value for key, value in preset["match"].items()):
                return dict(preset.get(method, {}))
    return {}


def default_layers(model: Mapping[str, Any]) -> tuple[int, ...]:
    """The layer to train in a model without a preset."""
    return (int(model["n_layers"] * DEPTH),)
