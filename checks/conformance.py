"""Two tables of docs/conformance.md: wrong plugins by the checks that find them, and our own plugins by check.

`python -m checks.conformance docs/conformance.md` writes the tables into that page.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest
import torch

from checks.zoo.animals import BREAKERS, checks_of, given, suite

ROOT: Final = Path(__file__).parents[1]
DECLARED: Final = frozenset(checks_of("declared"))


def run() -> list[str]:
    """Both tables."""
    return [*zoo_lines(), "", *own_lines()]


def zoo_lines() -> list[str]:
    """Every animal with every check of its suite."""
    torch.set_num_threads(1)
    lines = ["| plugin | kind | breaks, and is found by | found also by |", "|---|---|---|---|"]
    alone = total = 0
    for kind, table in BREAKERS.items():
        for check, animals in table.items():
            for cls in animals:
                found = [each for each in _own_checks(kind) if not _passes(kind, cls, each)]
                if check not in found:
                    raise RuntimeError(f"{cls.__name__} passes {check}")
                total += 1
                alone += found == [check]
                lines.append(f"| {cls.__name__} | {kind} | {_name(check)} | {_besides(found, check)} |")
    return [*lines, "", f"{total} wrong plugins, none of which passes; {alone} fail one check alone."]


def _besides(found: Sequence[str], check: str) -> str:
    """The other checks that found it: by name up to three, else their number."""
    others = [_name(each) for each in found if each != check]
    return ", ".join(others) if len(others) <= 3 else f"{len(others)} others"


def own_lines() -> list[str]:
    """Every plugin of this repository with every check of its suite, by its own test file."""
    # not test_conformance.py, which tests the suites themselves
    places = ("plugins/*/tests", "core/tests/*")
    files = sorted(str(file) for place in places for file in ROOT.glob(f"{place}/test_?*_conformance.py"))
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            *files,
        ]
        subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
        rows = list(_rows(ElementTree.parse(report).getroot()))
    outcomes: dict[str, dict[str, str]] = {}
    for suite_name, check, outcome in rows:
        outcomes.setdefault(suite_name, {})[check] = outcome
    lines = ["| suite | passed | not applicable | failed |", "|---|---|---|---|"]
    for name, found in sorted(outcomes.items()):
        named = {what: [check for check, outcome in found.items() if outcome == what] for what in ("skipped", "failed")}
        passed = len(found) - len(named["skipped"]) - len(named["failed"])
        cells = (", ".join(sorted(named[what])) for what in ("skipped", "failed"))
        lines.append(f"| {name} | {passed} | {' | '.join(cells)} |")
    return lines


def _rows(report: Any) -> Iterator[tuple[str, str, str]]:
    for case in report.iter("testcase"):
        *_, module, cls = case.get("classname").split(".")
        check, _, parameter = case.get("name").partition("[")
        outcome = "skipped" if case.find("skipped") is not None else "passed"
        if case.find("failure") is not None or case.find("error") is not None:
            outcome = "failed"
        name = f"{module.removeprefix('test_').removesuffix('_conformance')}: {cls.removeprefix('Test')}"
        yield name + (f" {parameter.rstrip(']')}" if parameter else ""), _name(check), outcome


def _own_checks(kind: str) -> list[str]:
    """The checks of a kind; of those that every kind has, only methods are tried, and none starts a process."""
    left = {"test_the_entry_module_imports_no_torch"} if kind == "method" else DECLARED
    return [check for check in checks_of(kind) if check not in left]


def _passes(kind: str, cls: Any, check: str) -> bool:
    made = suite(kind, cls)
    with tempfile.TemporaryDirectory() as place:
        try:
            getattr(made, check)(**given(made, check, Path(place)))
        except pytest.skip.Exception:
            return True
        except Exception:
            return False
    return True


def _name(check: str) -> str:
    return check.removeprefix("test_").replace("_", " ")


def main(path: Path) -> None:
    text = path.read_text("utf-8")
    for name, lines in (("zoo", zoo_lines()), ("own", own_lines())):
        begin, end = f"<!-- {name}: written by `python -m checks.conformance` -->\n", f"<!-- end of {name} -->"
        body = "\n".join(lines)
        pattern = re.compile(f"({re.escape(begin)}).*?({re.escape(end)})", re.DOTALL)
        text = pattern.sub(lambda found, body=body: f"{found[1]}\n{body}\n\n{found[2]}", text)  # type: ignore[misc]
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
