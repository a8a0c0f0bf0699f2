"""The presets that a method's package ships: `presets/NAME.yaml` beside its entry module."""

import sys
from importlib.resources import files


def preset_names(cls: type) -> tuple[str, ...]:
    """Names of the presets, read from the folder; nothing is imported."""
    package = sys.modules[cls.__module__.partition(".")[0]]
    if not hasattr(package, "__path__"):  # a plugin of one file has no room for presets
        return ()
    folder = files(package).joinpath("presets")
    if not folder.is_dir():
        return ()
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))
