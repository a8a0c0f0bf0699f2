"""Presets: settings known to work, one YAML file a model in a folder of the plugin that ships them."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from editcore.plugins.yaml_text import parse


def matching_preset(package: str, model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first preset in `package`, by file name, every field of whose `match` equals that of `model`; {} if none.

    Raises `UsageError` on a file that is no mapping.
    """
    for path in sorted(files(package).iterdir(), key=lambda path: path.name):
        if path.name.endswith(".yaml"):
            preset: Mapping[str, Any] = parse(path.read_text("utf-8"), f"the preset {path.name}")
            if all(model.get(key) == value for key, value in preset["match"].items()):
                return preset
    return {}
