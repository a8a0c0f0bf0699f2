"""The lists that follow from the distributions, and the files that hold them.

`python -m upkeep.lists` writes them; `--check` names the files that differ and what a distribution lacks.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from upkeep import api, catalogue, reference
from upkeep.distributions import ROOT, Distribution, distributions, plugins
from upkeep.faults import faults


def requirements(_: str) -> str:
    """The editable installs of the development environment, then the tools, which are written by hand."""
    lines = (ROOT / "requirements-dev.txt").read_text("utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("-e ")]
    return "".join(f"{line}\n" for line in (*(_editable(one) for one in distributions() if one.installed), *kept))


def _editable(one: Distribution) -> str:
    extras = f"[{','.join(one.extras)}]" if one.extras else ""
    return f"-e ./{one.folder}{extras}"


def mypy_path(text: str) -> str:
    """mypy takes no patterns here, so every source folder is named."""
    sources = ", ".join(f'"{one.source}"' for one in distributions())
    lines = [
        f"mypy_path = [{sources}]\n" if line.startswith("mypy_path = ") else line for line in text.splitlines(True)
    ]
    return "".join(lines)


def known(_: str) -> str:
    """The module that words the hint for a method or command whose distribution is not installed."""
    methods, commands = {}, {}
    for one in plugins():
        found = one.offers()
        methods.update(dict.fromkeys(found[0], one.name))
        commands.update(dict.fromkeys(found[1], one.name))
    return _KNOWN.format(methods=_entries(methods), commands=_entries(commands))


def table(text: str) -> str:
    """The README's table of distributions, between its markers."""
    start, end = "<!-- distributions: written by `make lists` -->\n", "<!-- end of distributions -->\n"
    before, _, rest = text.partition(start)
    after = rest.partition(end)[2]
    rows = "".join(
        f"| [`{one.folder}`]({one.folder}/README.md) | `{one.name}` | {one.summary} | {_offered(one)} |\n"
        for one in distributions()
    )
    head = "| folder | distribution | contents | methods and commands |\n|---|---|---|---|\n"
    return f"{before}{start}{head}{rows}{end}{after}"


def _offered(one: Distribution) -> str:
    methods, commands = one.offers() if one.is_plugin else ([], [])
    return ", ".join(f"`{name}`" for name in (*methods, *(f"editcore {command}" for command in commands)))


def licence(_: str) -> str:
    """The licence, of which a wheel holds the copy in the folder that it is built from."""
    return (ROOT / "LICENSE").read_text("utf-8")


LISTS: dict[str, Callable[[str], str]] = {
    "requirements-dev.txt": requirements,
    "pyproject.toml": mypy_path,
    "core/src/editcore/plugins/known.py": known,
    "README.md": table,
    "docs/catalogue.md": catalogue.page,
    "docs/api.txt": api.dump,
    "docs/hooks.md": reference.hooks,
    "docs/commands.md": reference.commands,
}

_KNOWN = '''"""Distributions by method and by command. Read only to word a hint, never to find a class.

Written by `make lists` from the plugins of this repository.
"""

from collections.abc import Mapping
from typing import Final

METHODS: Final[Mapping[str, str]] = {{
{methods}}}

COMMANDS: Final[Mapping[str, str]] = {{
{commands}}}
'''


def _entries(found: dict[str, str]) -> str:
    return "".join(f'    "{name}": "{found[name]}",\n' for name in sorted(found))


def stale() -> dict[Path, str]:
    """The files that differ from what the distributions say, with their right text."""
    writers = {**LISTS, **{f"{one.folder}/LICENSE": licence for one in distributions()}}
    there = {path: path.read_text("utf-8") if path.exists() else "" for path in (ROOT / name for name in writers)}
    right = {ROOT / name: write(there[ROOT / name]) for name, write in writers.items()}
    return {path: text for path, text in right.items() if there[path] != text}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m upkeep.lists", description=__doc__)
    parser.add_argument("--check", action="store_true", help="Write nothing; exit with 1 if a file is out of date.")
    checking = parser.parse_args().check
    different = stale()
    if not checking:
        for path, text in different.items():
            path.write_text(text, "utf-8")
    found = [*faults(), *catalogue.faults()]
    if checking:
        found += [f"{path.relative_to(ROOT)} is out of date" for path in different]
    for fault in found:
        print(f"error: {fault}", file=sys.stderr)
    if checking and different:
        print("hint: make lists", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
