"""The public interface as text, one name a line, and what it lost since the last tag.

`make lists` writes docs/api.txt. `python -m upkeep.api` compares it with that of the last tag and fails where a line is
gone or changed, unless docs/api-changes.toml gives a reason for it.
"""

import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from typing import Any, Final

from upkeep.distributions import ROOT

FILE: Final = "docs/api.txt"
ALLOWED: Final = "docs/api-changes.toml"
MODULES: Final = (
    "editcore_hooks",
    "editcore_hooks.specs",
    "editcore",
    "editcore.testing.conformance",
    "editcore.testing.fixtures",
    "editcore.testing.taught",
    "editcore.testing.tiny",
    *(f"editcore.authoring.{path.stem}" for path in sorted((ROOT / "core/src/editcore/authoring").glob("[a-z]*.py"))),
)
_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")


def dump(_: str = "") -> str:
    """Every public name with its arguments, sorted within its module."""
    return "".join(f"{line}\n" for module in MODULES for line in sorted(set(_of_module(module))))


def _of_module(name: str) -> Iterator[str]:
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None) or [one for one in vars(module) if _public(module, one)]
    for one in names:
        yield from _lines(f"{name}.{one}", getattr(module, one))


def _public(module: Any, name: str) -> bool:
    value = getattr(module, name)
    return not name.startswith("_") and getattr(value, "__module__", None) == module.__name__


def _lines(path: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        yield f"{path}{_arguments(value)}"
        for name in dir(value):
            member = getattr(value, name, None)
            if name.startswith("_") or (callable(member) and not _ours(member)):
                continue
            yield f"{path}.{name}{_arguments(member) if callable(member) else ''}"
    elif callable(value):
        yield f"{path}{_arguments(value)}"
    else:
        yield path


def _ours(member: Any) -> bool:
    """Whether a method is one of this project, and none that a base class of a library brings."""
    return str(getattr(member, "__module__", None) or "editcore").startswith("editcore")


def _arguments(value: Any) -> str:
    """The names and kinds of arguments, and whether each may be left out: what a caller relies on."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return "(…)"
    empty = inspect.Parameter.empty
    shown = [
        one.replace(annotation=empty, default=empty if one.default is empty else "…")
        for one in signature.parameters.values()
    ]
    return _ADDRESS.sub("", str(inspect.Signature(shown))).replace("'…'", "…")


def lost(before: str, now: str, allowed: dict[str, str]) -> list[str]:
    """The lines of `before` that `now` has not, without those that are allowed to go."""
    present = set(now.splitlines())
    return [line for line in before.splitlines() if line not in present and not allowed.get(line, "").strip()]


def main() -> int:
    git = ["git", "-C", str(ROOT)]
    tag = subprocess.run([*git, "describe", "--tags", "--abbrev=0"], capture_output=True, text=True, check=False)
    if tag.returncode:
        print("there is no tag yet, so there is nothing to compare with")
        return 0
    name = tag.stdout.strip()
    shown = subprocess.run([*git, "show", f"{name}:{FILE}"], capture_output=True, text=True, check=False)
    if shown.returncode:
        print(f"{name} has no {FILE}, so there is nothing to compare with")
        return 0
    gone = lost(shown.stdout, dump(), tomllib.loads((ROOT / ALLOWED).read_text("utf-8")).get("changes", {}))
    for line in gone:
        print(f"error: {name} had {line}", file=sys.stderr)
    if gone:
        print(f"hint: keep it, or give its reason in {ALLOWED}; see docs/compatibility.md", file=sys.stderr)
    return 1 if gone else 0


if __name__ == "__main__":
    sys.exit(main())
