"""The distributions of this repository, as their own pyproject.toml and hooks declare them."""

import importlib
import sys
import tomllib
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parents[1]
GROUP = "editcore"


@attrs.frozen
class Distribution:
    """One folder with a pyproject.toml. `extras` and `installed` say how the development environment installs it."""

    folder: str
    name: str
    version: str
    summary: str
    package: str
    entry_points: dict[str, str]
    extras: tuple[str, ...] = ()
    installed: bool = True

    @property
    def is_plugin(self) -> bool:
        return self.folder.startswith("plugins/")

    @property
    def source(self) -> str:
        return f"{self.folder}/src"

    def offers(self) -> tuple[list[str], list[str]]:
        """The methods and the commands that its entry modules register. Imports them; they are light by contract."""
        methods: list[str] = []
        commands = _Commands()
        for entry in self.entry_points.values():
            module = _imported(entry, ROOT / self.source)
            if register := getattr(module, "editcore_register_methods", None):
                methods += [cls.name for cls in register()]
            if register := getattr(module, "editcore_register_commands", None):
                register(cli=commands)
        return methods, commands.names


def distributions() -> list[Distribution]:
    """The contract, the core, then the plugins by name: each after what it needs."""
    paths = [
        ROOT / "hooks/pyproject.toml",
        ROOT / "core/pyproject.toml",
        *sorted(ROOT.glob("plugins/*/pyproject.toml")),
    ]
    return [_read(path) for path in paths]


def plugins() -> list[Distribution]:
    return [one for one in distributions() if one.is_plugin]


def _read(path: Path) -> Distribution:
    declared = tomllib.loads(path.read_text("utf-8"))
    project, development = declared["project"], declared.get("tool", {}).get("editcore-development", {})
    return Distribution(
        folder=path.parent.relative_to(ROOT).as_posix(),
        name=project["name"],
        version=project["version"],
        summary=project["description"],
        package=project["name"].replace("-", "_"),
        entry_points=project.get("entry-points", {}).get(GROUP, {}),
        extras=tuple(development.get("extras", ())),
        installed=development.get("installed", True),
    )


def _imported(name: str, source: Path) -> Any:
    """The module `name`. `source` is searched last: the environment may not have this distribution installed."""
    sys.path.append(str(source))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(source))


class _Commands:
    """Stands in for the command line while a plugin registers its commands."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def add(self, name: str, *_: Any, **__: Any) -> None:
        self.names.append(name)
