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


def tree(place: Path) -> dict[str, str]:
    """The sha256 of every file under `place`."""
    return {str(path): file_sha256(path) for path in sorted(place.rglob("*")) if path.is_file()}
