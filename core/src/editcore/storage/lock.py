"""One writer a folder: an OS lock on the folder itself, so nothing is left behind by a process that died."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from editcore_hooks import ConflictError, UsageError


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the only right to write `folder`. Raises `ConflictError` at once when another process has it."""
    with _locked(folder, fcntl.LOCK_EX):
        yield


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Keep writers out of `folder` for a while. Raises `ConflictError` at once when one is at work."""
    with _locked(folder, fcntl.LOCK_SH):
        yield


def is_being_written(folder: Path) -> bool:
    """Whether a writer is at work right now."""
    try:
        with reading(folder):
            return False
    except ConflictError:
        return True


@contextlib.contextmanager
def _locked(folder: Path, kind: int) -> Iterator[None]:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UsageError(f"cannot open the folder {folder}: {error.strerror}", hint="check the path") from error
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(f"another editcore is writing {folder}", hint="wait for it and try again") from error
        # Between opening and locking, the folder could have been renamed away and another put in its place.
        if not os.path.samestat(os.fstat(descriptor), folder.stat()):
            raise ConflictError(f"{folder} was replaced just now", hint="try again")
        yield
    finally:
        os.close(descriptor)
