"""The presets that a method's package ships, settings known to work: `presets/NAME.yaml` beside its entry module.

A preset belongs to weights (`weights_root`) or to a family of releases: a shape and `names`, one of which is part of
the model's name. A shape alone is never enough: another model of the same shape may need other settings.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from editcore.text.yaml_text import parse
from editcore_hooks import PluginError


def preset_names(cls: type) -> tuple[str, ...]:
    """Names of the presets, read from the folder; nothing is imported."""
    folder = _folder(cls)
    return () if folder is None else tuple(path.name.removesuffix(".yaml") for path in _files(folder))


def preset_name(cls: type, model: Mapping[str, Any]) -> str | None:
    """The name of the preset of the method's package that matches `model`; None where none does."""
    folder = _folder(cls)
    found = None if folder is None else _matching(folder, model)
    return None if found is None else found[0]


def matching_preset(package: str, model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The preset in `package` whose `match` fits `model` best; {} if none fits.

    `names` fits where one of them is part of the name of the model, every other field where it is equal. Weights fit
    better than names, and a longer name better than a shorter one: qwen2.5 before qwen2. Raises
    `UsageError` on a file that is no YAML, and `PluginError` on one that matches a shape alone.
    """
    found = _matching(files(package), model)
    return {} if found is None else found[1]


def _matching(folder: Traversable, model: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    best, found = 0, None
    for path in _files(folder):
        preset: Mapping[str, Any] = parse(path.read_text("utf-8"), f"the preset {path.name}")
        match = dict(preset["match"])
        if not match.keys() & {"names", "weights_root"}:
            message = f"the preset {path.name} matches a shape alone, which other models share"
            raise PluginError(message, hint="add to its match: names: [RELEASE], or weights_root: HASH")
        fit = _fit(match.pop("names", None), model)
        if fit > best and all(model.get(key) == value for key, value in match.items()):
            best, found = fit, (path.name.removesuffix(".yaml"), preset)
    return found


def _fit(names: Sequence[str] | None, model: Mapping[str, Any]) -> int:
    """Length of the longest of `names` that is part of the model's name; 0: none is; without names, the most."""
    own = str(model.get("name", "")).lower()
    return sys.maxsize if names is None else max((len(name) for name in names if name.lower() in own), default=0)


def _folder(cls: type) -> Traversable | None:
    package = sys.modules[cls.__module__.partition(".")[0]]
    if not hasattr(package, "__path__"):  # a plugin of one file has no room for presets
        return None
    folder = files(package).joinpath("presets")
    return folder if folder.is_dir() else None


def _files(folder: Traversable) -> list[Traversable]:
    found = [path for path in folder.iterdir() if path.name.endswith(".yaml")]
    return sorted(found, key=lambda path: path.name)
