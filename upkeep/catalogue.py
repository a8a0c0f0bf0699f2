"""The page of known plugins, made from docs/catalogue.toml and from the distributions of this repository.

`python -m upkeep.catalogue` installs each entry of the file into an environment of its own and runs the suites on it.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from upkeep.distributions import ROOT, plugins

FILE: Final = "docs/catalogue.toml"
KEYS: Final = {"summary": str, "offers": list, "license": str, "source": str, "install": str}
OFFER: Final = re.compile(r"(method|locator|transform|metric|patch kind|dataset|architecture) \S+")


def entries(text: str | None = None) -> dict[str, dict[str, Any]]:
    """The entries by distribution."""
    return tomllib.loads((ROOT / FILE).read_text("utf-8") if text is None else text)


def faults(text: str | None = None) -> Iterator[str]:
    """What keeps an entry from being taken."""
    ours = {one.name for one in plugins()}
    for name, entry in entries(text).items():
        if name in ours:
            yield f"{FILE}: {name} is a distribution of this repository, and listed anyway"
        for key, kind in KEYS.items():
            if not isinstance(entry.get(key), kind) or not entry[key]:
                yield f"{FILE}: {name} has no {key}"
        for key in sorted(entry.keys() - KEYS.keys()):
            yield f"{FILE}: {name} has an unknown key {key}"
        if not str(entry.get("source", "https://")).startswith("https://"):
            yield f"{FILE}: the source of {name} is no https address"
        for offer in entry.get("offers", ()):
            if not OFFER.fullmatch(str(offer)):
                yield f'{FILE}: {name} offers {offer!r}; write "method NAME", "locator NAME" and so on'


def page(_: str) -> str:
    """docs/catalogue.md."""
    others = [_row(name, entry) for name, entry in sorted(entries().items())]
    known = [
        f"| `{one.name}` | {one.summary} | {', '.join(f'`{name}`' for name in [*one.offers()[0], *one.offers()[1]])} |"
        for one in plugins()
    ]
    table = "\n".join(["| distribution | contents | offers | licence | install |", "|---|---|---|---|---|", *others])
    ours = "\n".join(["| distribution | contents | methods and commands |", "|---|---|---|", *known])
    return _PAGE.format(others=table if others else "There is no entry yet.", ours=ours)


def _row(name: str, entry: dict[str, Any]) -> str:
    offers = ", ".join(f"`{offer}`" for offer in entry["offers"])
    link = f"[`{name}`]({entry['source']})"
    return f"| {link} | {entry['summary']} | {offers} | {entry['license']} | `pip install {entry['install']}` |"


_PAGE: Final = """# Known plugins

Written by `make lists`; do not edit it. A plugin of your own is listed by a pull request that adds six lines to
`docs/catalogue.toml`; the comment there is an example. CI installs each entry and runs the
[conformance suites](conformance.md) on it once a week.

A plugin is code that runs with your rights, and being listed here is no promise: see [security](security.md).

## Of others

{others}

## Of this repository

{ours}
"""


def _try(name: str, install: str) -> bool:
    """Whether an entry installs into a new environment and passes its suites there."""
    with tempfile.TemporaryDirectory() as place:
        venv.create(place, with_pip=True)
        python = str(Path(place) / "bin" / "python")
        sources = [str(ROOT / "hooks"), f"{ROOT / 'core'}[testing]"]
        commands = (
            [python, "-m", "pip", "install", "--quiet", *sources, install],
            [python, "-m", "editcore", "plugins", "doctor"],
            [python, "-m", "editcore.testing.conform", name],
        )
        return all(subprocess.run(command, cwd=place, check=False).returncode == 0 for command in commands)


def main() -> int:
    found = list(faults())
    for fault in found:
        print(f"error: {fault}", file=sys.stderr)
    failed = [] if found else [name for name, entry in entries().items() if not _try(name, entry["install"])]
    for name in failed:
        print(f"error: {name} does not install, or does not pass its suites", file=sys.stderr)
    return 1 if found or failed else 0


if __name__ == "__main__":
    sys.exit(main())
