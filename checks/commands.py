"""Command lines run in this process, and what they left on the disk."""

import contextlib
import io
from pathlib import Path

from editcore.cli import main
from editcore.patches.checkpoint.fingerprint import file_sha256


def call(arguments: list[str]) -> tuple[int, str]:
    """The exit code, and the text on stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*arguments, "-q"])
    return code, err.getvalue()


def error_lines(said: str) -> list[str]:
    """What is on stderr of a refusal: one line of error and at most one of hint, neither of which a terminal obeys."""
    error, *hints = lines = said.splitlines()
    assert error.startswith("error: "), said
    assert len(hints) <= 1, said
    assert all(line.startswith("hint: ") for line in hints), said
    for line in lines:
        assert line.isprintable(), f"a line that a terminal could act on: {line!r}"
    return lines


def tree(place: Path) -> dict[str, str]:
    """The sha256 of every file under `place`."""
    return {str(path): file_sha256(path) for path in sorted(place.rglob("*")) if path.is_file()}
