"""docs/walkthrough.md as a test: its commands run in order, and print what stands below them.

They run in this process, where torch is imported once. Hashes are compared by where they return: the document's and
this machine's must stand for each other everywhere. Figures that are not whole numbers may differ in their last digits.
"""

import contextlib
import io
import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from editcore.cli import main

DOCUMENT = Path(__file__).parents[1] / "docs" / "walkthrough.md"
DIFFERENT = 7
HASH = re.compile(r"[0-9a-f]{12,64}…?")
FIGURE = re.compile(r"-?\d+\.\d+(?:e-?\d+)?|-?\d+e-?\d+")


def blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """Language, file name and content of every fenced block."""
    for found in re.finditer(r"^```(\w+) ?(\S*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield found[1], found[2], found[3]


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block, and the lines shown below it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def run(command: str) -> str:
    if command.startswith("export "):
        name, _, value = command.removeprefix("export ").partition("=")
        os.environ[name] = value
        return ""
    if not command.startswith("editcore "):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(command, shell=True, env={**os.environ, "PATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = main(shlex.split(command)[1:])
    said = printed.getvalue()
    different = command.startswith("editcore diff") and "no difference" not in said
    assert code == (DIFFERENT if different else 0), f"{command}\n{said}"
    return said


def execute(code: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(DOCUMENT), "exec"), {})
    return printed.getvalue()


class Comparison:
    """Whether two texts say the same, with one meaning for every hash in all of them."""

    def __init__(self) -> None:
        self.meaning: dict[str, str] = {}

    def check(self, shown: str, said: str, where: str) -> None:
        assert len(shown.splitlines()) == len(said.splitlines()), f"{where}\n{said}"
        for expected, actual in zip(shown.splitlines(), said.splitlines(), strict=True):
            ours, theirs = expected.split(), actual.split()
            assert len(ours) == len(theirs), f"{where}\n{expected}\n{actual}"
            assert all(map(self._same, ours, theirs)), f"{where}\n{expected}\n{actual}"

    def _same(self, ours: str, theirs: str) -> bool:
        return self._bare(ours) == self._bare(theirs) and self._hashes(ours, theirs) and _near(ours, theirs)

    def _bare(self, word: str) -> str:
        return FIGURE.sub("0.0", HASH.sub("#", word))

    def _hashes(self, ours: str, theirs: str) -> bool:
        pairs = zip(HASH.findall(ours), HASH.findall(theirs), strict=True)
        # The first twelve: an id is shown in that length, and in full.
        return all(self.meaning.setdefault(a[:12], b[:12]) == b[:12] for a, b in pairs)


def _near(ours: str, theirs: str) -> bool:
    pairs = zip(*(FIGURE.findall(HASH.sub("#", word)) for word in (ours, theirs)), strict=True)
    # What is written with an exponent is a small error or probability: its size matters, not its digits.
    return all(
        math.isclose(float(a), float(b), rel_tol=0.5) if "e" in a else math.isclose(float(a), float(b), rel_tol=0.1)
        for a, b in pairs
    )


def test_the_walkthrough_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDITCORE_CACHE", "")  # which the document sets: put back afterwards
    comparison, printed = Comparison(), ""
    for language, name, content in blocks(DOCUMENT.read_text("utf-8")):
        if language == "console":
            for command, shown in commands(content):
                comparison.check(shown, run(command), command)
        elif language == "json":
            Path(name).write_text(content)
        elif language == "python":
            printed = execute(content)
        elif language == "text":
            comparison.check(content, printed, "the Python above")


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ("edited: 9820e2bd25fb", "edited: 9820e2bd25fb, 17cbc822c937"),
        ("Tarnow: p(target) 1.48e-06 -> 0.991", "Tarnow: p(target) 1.48e-06 -> 0.591"),
        ("both: rank 9", "both: rank 8"),
        ("aaaaaaaaaaaa bbbbbbbbbbbb", "aaaaaaaaaaaa aaaaaaaaaaaa\n"),
        ("a\nb", "a"),
    ],
)
def test_another_text_is_noticed(shown: str, said: str) -> None:
    comparison = Comparison()
    comparison.check("aaaaaaaaaaaa bbbbbbbbbbbb", "cccccccccccc dddddddddddd", "")
    with pytest.raises(AssertionError):
        comparison.check(shown, said, "")


def test_another_machine_is_not() -> None:
    Comparison().check("job 9820e2bd25fb  p 9.99e-06 -> 0.999", "job 5c5cd8af0865  p 9.98e-06 -> 0.998", "")
