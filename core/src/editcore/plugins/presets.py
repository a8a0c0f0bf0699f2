"""The presets that a method's package ships, settings known to work: `presets/NAME.yaml` beside its entry module."""

import sys
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from editcore.plugins.yaml_text import parse


def preset_names(cls: type) -> tuple[str, ...]:
    """Names of the presets, read from the folder; nothing is imported."""
    package = sys.modules[cls.__module__.partition(".")[0]]
    if not hasattr(package, "__path__"):  # a plugin of one file has no room for presets
        return ()
    folder = files(package).joinpath("presets")
    if not folder.is_dir():
        return ()
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def matching_preset(package: str, model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first preset in `package`, by file name, every field of whose `match` equals that of `model`; {} if none.

    Raises `UsageError` on a file that is no YAML.
    """
    for path in sorted(files(package).iterdir(), key=lambda path: path.name):
        if path.name.endswith(".yaml"):
            preset: Mapping[str, Any] = parse(path.read_text("utf-8"), f"the preset {path.name}")
            if all(model.get(key) == value for key, value in preset["match"].items()):
                return preset
    return {}
