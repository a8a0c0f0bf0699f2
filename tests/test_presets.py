"""Every preset that ships can be used: it says its source, matches a release or weights, and holds valid settings."""

from importlib.resources import files
from pathlib import Path

import pytest

from editcore.authoring.settings import from_mapping, registry
from editcore.plugins.presets import matching_preset
from editcore.text.yaml_text import parse

METHODS = registry().methods.classes()
FILES = sorted(
    {
        Path(str(path))
        for cls in METHODS.values()
        if (folder := files(cls.__module__.partition(".")[0]).joinpath("presets")).is_dir()
        for path in folder.iterdir()
        if path.name.endswith(".yaml")
    }
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_preset_says_its_source_and_holds_valid_settings(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.startswith("# "), "it begins with a comment on its source"
    preset = dict(parse(text, path.name))
    match = preset.pop("match")
    model = {**match, "name": f"someone/{match.get('names', ['any'])[0]}"}
    assert matching_preset(f"{path.parts[-3]}.presets", model) == parse(text, path.name), (
        "another preset is chosen for its release"
    )
    own = {name: cls for name, cls in METHODS.items() if cls.__module__.startswith(f"{path.parts[-3]}.")}
    for key, settings in preset.items():
        for cls in own.values() if key == "hparams" else [own[key]]:
            from_mapping(cls.Hparams, settings)
