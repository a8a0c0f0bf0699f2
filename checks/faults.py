"""Between the program and one folder of the disk: every change of it is counted, and can be made to fail or to be the
last one.

The calls of the operating system are taken over, not the functions of `durable`: a change that went past those
functions would be seen here too.
"""

import contextlib
import errno
import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, Self
from unittest import mock

from attrs import define, field, frozen

Kind = Literal["create", "write", "mode", "sync", "rename", "remove", "make folder", "remove folder"]
GROWING: Final[tuple[Kind, ...]] = ("create", "write", "make folder")
"""Calls that a full disk refuses on most file systems; there a file can still be renamed and removed."""
CHANGING: Final[tuple[Kind, ...]] = (*GROWING, "mode", "rename", "remove", "remove folder")
"""Calls that a read-only file system refuses."""


class Killed(BaseException):
    """The end of the process: after it nothing reaches the disk any more."""


@frozen
class Fault:
    """From call `first` on (`lasting`), or at that call alone, what is of `kinds` raises; `torn`: a write half done."""

    raises: Callable[[], BaseException]
    first: int
    kinds: tuple[Kind, ...]
    lasting: bool = True
    torn: bool = False

    def strikes(self, number: int, kind: Kind) -> bool:
        return kind in self.kinds and (number >= self.first if self.lasting else number == self.first)


def kill(first: int, torn: bool = False) -> Fault:
    """The process ends just before call `first`, or with half of that write done."""
    return Fault(Killed, first, (*CHANGING, "sync"), torn=torn)


def full_disk(first: int, lasting: bool = True) -> Fault:
    """No room, half-way through a write, from that call on or for a moment."""
    return Fault(lambda: _error(errno.ENOSPC), first, GROWING, lasting, torn=True)


def full_copy_on_write(first: int, lasting: bool = True) -> Fault:
    """No room on a file system that writes new blocks also to rename and to remove, so that even a commit can fail."""
    return Fault(lambda: _error(errno.ENOSPC), first, CHANGING, lasting, torn=True)


def read_only(first: int) -> Fault:
    """The file system is mounted read-only from that call on, as a kernel does that found an error."""
    return Fault(lambda: _error(errno.EROFS), first, CHANGING)


def forbidden() -> Fault:
    """The folder belongs to somebody else."""
    return Fault(lambda: _error(errno.EACCES), 0, CHANGING)


def broken(first: int) -> Fault:
    """One call that does not reach the disk."""
    return Fault(lambda: _error(errno.EIO), first, (*CHANGING, "sync"), lasting=False)


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


@define
class Disk:
    """`calls` are the changes of `folder` so far, each with its kind and a name; before each `watch` is called."""

    folder: Path
    fault: Fault | None = None
    watch: Callable[[], None] | None = None
    calls: list[tuple[Kind, str]] = field(factory=list)
    written: int = 0
    """Bytes, those that the kernel copied among them."""
    _names: dict[int, Path] = field(factory=dict)

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Self]:
        """Take the calls over for the body."""
        # Read before they are replaced.
        calls: dict[str, Any] = {
            "open": self._opening(os.open),
            "fdopen": self._wrapping(os.fdopen),
            "fsync": self._on_descriptor("sync", lambda descriptor: None),
            "fchmod": self._on_descriptor("mode", os.fchmod),
            "chmod": self._on_path("mode", os.chmod),
            "chown": self._on_path("mode", os.chown),
            "copy_file_range": self._copying(os.copy_file_range),
            "utime": self._on_path("mode", os.utime),
            "symlink": self._linking(os.symlink),
            "mkdir": self._on_path("make folder", os.mkdir),
            "replace": self._on_path("rename", os.replace),
            "rename": self._on_path("rename", os.rename),
            "unlink": self._on_path("remove", os.unlink),
            "remove": self._on_path("remove", os.remove),
            "rmdir": self._on_path("remove folder", os.rmdir),
        }
        reading = self._reading(io.open)
        with (
            mock.patch.multiple(os, **calls),
            mock.patch("io.open", reading),
            mock.patch("builtins.open", reading),
        ):
            yield self

    def about_to(self, kind: Kind, path: Path, tear: Callable[[], object] = lambda: None) -> None:
        """Count a call that is about to be made, and raise what the fault says; `tear` does half of it."""
        if self.watch is not None:
            self.watch()
        number = len(self.calls)
        self.calls.append((kind, re.sub(r"[0-9a-f]{12,}", "#", os.path.relpath(path, self.folder))))
        if self.fault is not None and self.fault.strikes(number, kind):
            if self.fault.torn and number == self.fault.first:
                tear()
            raise self.fault.raises()

    def _inside(self, path: Any) -> Path | None:
        if isinstance(path, int):
            return self._names.get(path)
        place = Path(os.path.abspath(os.fsdecode(path)))
        return place if place.is_relative_to(self.folder.absolute()) else None

    def _opening(self, original: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            place = self._inside(path)
            if place is not None and flags & os.O_CREAT:
                self.about_to("create", place)
            descriptor = original(path, flags, *rest, **more)
            self._names.pop(descriptor, None)
            if place is not None:
                self._names[descriptor] = place
            return descriptor

        return call

    def _wrapping(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(descriptor: int, mode: str = "r", *rest: Any, **more: Any) -> Any:
            place = self._names.get(descriptor)
            if place is None or "r" in mode:
                return original(descriptor, mode, *rest, **more)
            return _Writing(self, place, original(descriptor, mode, buffering=0))

        return call

    def _on_descriptor(self, kind: Kind, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(descriptor: int, *rest: Any, **more: Any) -> None:
            place = self._names.get(descriptor)
            if place is not None:
                self.about_to(kind, place)
            original(descriptor, *rest, **more)

        return call

    def _copying(self, original: Callable[..., int]) -> Callable[..., int]:
        def call(source: int, descriptor: int, count: int, start: int) -> int:
            place = self._names.get(descriptor)
            if place is not None:
                self.about_to("write", place, lambda: original(source, descriptor, max(1, count // 2), start))
            copied = original(source, descriptor, count, start)
            self.written += copied
            return copied

        return call

    def _linking(self, original: Callable[..., None]) -> Callable[..., None]:
        def call(target: Any, path: Any, *rest: Any, **more: Any) -> None:
            place = self._inside(path)
            if place is not None:
                self.about_to("create", place)
            original(target, path, *rest, **more)

        return call

    def _on_path(self, kind: Kind, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *rest: Any, **more: Any) -> None:
            place = self._inside(path)
            if place is not None:
                self.about_to(kind, place)
            original(path, *rest, **more)

        return call

    def _reading(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
            past = not isinstance(path, int) and not set(mode) <= set("rbt") and self._inside(path) is not None
            assert not past, f"{path} is written past `durable`"
            return original(path, mode, *rest, **more)

        return call


@define
class _Writing:
    """An unbuffered file, so that every write is a call."""

    disk: Disk
    path: Path
    file: io.FileIO

    def write(self, data: bytes | memoryview) -> int:
        half = memoryview(data)[: len(data) // 2]
        self.disk.about_to("write", self.path, lambda: self.file.write(half))
        self.disk.written += len(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()

    def fileno(self) -> int:
        return self.file.fileno()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()
