"""The specs in the wheel, by name."""

from pathlib import Path
from typing import Final

from attrs import frozen

from editcore.authoring.settings import read_mapping, suggestion_or_list
from editcore_hooks import UsageError

_FOLDER: Final = Path(__file__).parents[1] / "specs"


@frozen
class Shipped:
    name: str
    title: str
    about: str
    path: Path


def shipped_specs() -> list[Shipped]:
    """All of them, by name."""
    found = []
    for path in sorted(_FOLDER.glob("*.yaml")):
        head = read_mapping(path)
        found.append(Shipped(path.stem, head["title"], head["about"], path))
    return found


def find_spec(text: str) -> Path:
    """The file of a spec: a path, or the name of one that ships. Raises `UsageError`."""
    path = Path(text).expanduser()
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    named = {spec.name: spec.path for spec in shipped_specs()}
    if text not in named:
        hint = suggestion_or_list(text, named)
        raise UsageError(f"there is no spec {text!r}, neither a file nor one that ships", hint=hint)
    return named[text]
