"""What every distribution must have. Each fault names the distribution and what is missing."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from upkeep.distributions import ROOT, Distribution, distributions

_FILES = ("README.md", "LICENSE", "pyproject.toml", "src/{package}/__init__.py", "src/{package}/py.typed")
_SAME = ("license", "requires-python", "readme", "classifiers")


def faults() -> list[str]:
    """One line for each fault of any distribution; empty when there is none."""
    every = distributions()
    core = _declared(next(one for one in every if one.folder == "core"))
    return [f"{one.name}: {fault}" for one in every for fault in _of(one, core)]


def _of(one: Distribution, core: dict[str, Any]) -> Iterator[str]:
    for pattern in _FILES:
        path = pattern.format(package=one.package)
        if not (ROOT / one.folder / path).is_file():
            yield f"{one.folder}/{path} is missing"
    if not list((ROOT / one.folder / "tests").glob("**/test_*.py")):
        yield f"{one.folder}/tests has no test"
    declared = _declared(one)
    for key in _SAME:
        if declared["project"].get(key) != core["project"].get(key):
            yield f"{key} in pyproject.toml differs from the core's"
    if declared["build-system"] != core["build-system"]:
        yield "build-system in pyproject.toml differs from the core's"
    if declared["tool"]["hatch"]["build"]["targets"]["wheel"] != {"packages": [f"src/{one.package}"]}:
        yield f'the wheel should hold packages = ["src/{one.package}"]'
    if one.is_plugin:
        yield from _plugin(one)


def _plugin(one: Distribution) -> Iterator[str]:
    if one.folder != f"plugins/{one.name}":
        yield f"its folder is {one.folder}, not plugins/{one.name}"
    if list(one.entry_points.values()) != [f"{one.package}.hooks"]:
        yield f'it should have one entry point of the group "editcore", {one.package}.hooks'
    elif not (ROOT / one.source / one.package / "hooks.py").is_file():
        yield f"{one.source}/{one.package}/hooks.py is missing"
    else:
        readme = ROOT / one.folder / "README.md"
        text = readme.read_text("utf-8") if readme.is_file() else ""
        methods, commands = one.offers()
        for name in (*methods, *commands):
            if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text):
                yield f"its README does not name {name}"


def _declared(one: Distribution) -> dict[str, Any]:
    return tomllib.loads((ROOT / one.folder / "pyproject.toml").read_text("utf-8"))
