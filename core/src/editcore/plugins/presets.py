"""The presets that a method's package ships: `presets/NAME.yaml` beside its entry module."""

from importlib.resources import files


def preset_names(cls: type) -> tuple[str, ...]:
    """Names of the presets, read from the folder; nothing is imported."""
    folder = files(cls.__module__.partition(".")[0]).joinpath("presets")
    if not folder.is_dir():
        return ()
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))
