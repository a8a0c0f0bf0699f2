"""Check a tag before anything is published: `python -m upkeep.release v0.1.0`."""

import re
import sys
from collections.abc import Iterator

from upkeep.distributions import ROOT, distributions


def faults(tag: str) -> Iterator[str]:
    """What keeps this tag from being released."""
    version = tag.removeprefix("v")
    for one in distributions():
        if not one.is_plugin and one.version != version:
            yield f"the tag is {tag}, and {one.folder}/pyproject.toml has version {one.version}"
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    if not re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", text, re.MULTILINE):
        yield f"CHANGELOG.md has no section '## {version} (YEAR-MONTH-DAY)'"
    for path in sorted((ROOT / "changelog.d").glob("*.*.md")):
        yield f"changelog.d/{path.name} is in no section yet"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m upkeep.release TAG", file=sys.stderr)
        return 2
    found = list(faults(arguments[0]))
    for fault in found:
        print(f"error: {fault}", file=sys.stderr)
    if found:
        print("hint: see RELEASING.md", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
