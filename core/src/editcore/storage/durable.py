"""Every change of the disk that must survive a power cut goes through these few functions, and no other place.

They are one seam: the tests stop the program before and after each of them.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import IO, Final, Self

from attrs import frozen

_STRETCH: Final = 2**23

_CACHED: Final = 2**18
"""Stays in the processor's cache between read and write: 4 MiB at a time takes several times as long."""

_CANNOT_SHARE: Final = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)
"""Two file systems, or one that cannot: then the bytes go through this program."""

_REMEDIES: Final[Mapping[int | None, str]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "make it writable"),
}


def remedy(error: OSError) -> str:
    """The next step after a failed write."""
    return _REMEDIES.get(error.errno, "check the disk")


@frozen
class Span:
    """`length` bytes of an open file from `start` on, to be copied without passing through this program if it can."""

    file: FileIO
    start: int
    length: int


@frozen
class Access:
    """Access rights of a file or folder: permission bits, and the ids of its user and group."""

    mode: int
    user: int
    group: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """The access to what lies at `path`, or at the other end of a link."""
        return cls.from_status(path.stat())

    @classmethod
    def from_status(cls, status: os.stat_result) -> Self:
        return cls(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def write_new(path: Path, chunks: Iterable[bytes | memoryview | Span], access: Access | None = None) -> None:
    """Write a file that is not there yet and fsync it. Raises `FileExistsError`.

    With `access` nobody else can read it before it has that access. Only root can give it to another user.
    """
    created = 0o666 if access is None else 0o600
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, created), "wb") as file:
        written = begun = 0
        for chunk in chunks:
            for count in _copied(chunk, file) if isinstance(chunk, Span) else (file.write(chunk),):
                written += count
                if written - begun >= _STRETCH:
                    file.flush()
                    _begin_flush(file.fileno(), begun, written - begun)
                    begun = written
        if access is not None:
            _give(file.fileno(), os.fstat(file.fileno()), access)
        file.flush()
        os.fsync(file.fileno())


def _copied(span: Span, file: IO[bytes]) -> Iterator[int]:
    """Copy piece by piece and yield how much each was; the blocks are shared where the file system can."""
    file.flush()  # the kernel writes past the buffer
    start, left = span.start, span.length
    shares, buffer = hasattr(os, "copy_file_range"), memoryview(b"")
    while left:
        if shares:
            try:
                count = os.copy_file_range(span.file.fileno(), file.fileno(), min(left, _STRETCH), start)
            except OSError as error:
                if error.errno not in _CANNOT_SHARE:
                    raise
                shares, buffer = False, memoryview(bytearray(_CACHED))
                span.file.seek(start)
                continue
        else:
            count = span.file.readinto(buffer[:left])
            file.write(buffer[:count])
        if not count:
            raise OSError(errno.EIO, "a file ended while it was copied")
        start, left = start + count, left - count
        yield count


def _begin_flush(descriptor: int, start: int, length: int) -> None:
    """Have the disk begin with what is written while the rest is computed; fsync waits for all of it as before."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)


def replace(source: Path, destination: Path) -> None:
    """Rename over `destination` in one step and make the rename last."""
    os.replace(source, destination)
    sync_folder(destination.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, access: Access | None = None) -> None:
    """Create a folder if it is missing; its parent must be there. A folder that is there keeps its access."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(0o777 if access is None else access.mode & 0o777)
        if access is not None:
            give_folder(folder, access)
        sync_folder(folder.parent)


def give_folder(folder: Path, access: Access) -> None:
    """Set the access to a folder. Only root can give it to another user."""
    _give(folder, folder.stat(), access)


def _give(target: Path | int, status: os.stat_result, access: Access) -> None:
    if (status.st_uid, status.st_gid) != (access.user, access.group):
        # Before the mode: a change of owner can take bits away.
        with contextlib.suppress(PermissionError):
            os.chown(target, access.user if os.geteuid() == 0 else -1, access.group)
    if stat.S_IMODE(status.st_mode) != access.mode:
        os.chmod(target, access.mode)


def temporary_name(name: str) -> str:
    """A hidden name beside `name` for what is made before it gets that name."""
    return f".{name}.{secrets.token_hex(6)}.tmp"


def is_temporary(found: str, name: str) -> bool:
    """Whether `found` is a `temporary_name` of `name`: whatever only looks similar belongs to somebody else."""
    return re.fullmatch(rf"\.{re.escape(name)}\.[0-9a-f]{{12}}\.tmp", found) is not None


def remove_if_empty(folder: Path) -> None:
    """Remove a folder unless something is in it, which is then not ours."""
    try:
        remove(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def remove(path: Path) -> None:
    """Remove a file or an empty folder if it is there."""
    with contextlib.suppress(FileNotFoundError):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it; links in it go, and not what they lead to."""
    for path in sorted(folder.rglob("*"), reverse=True):
        remove(path)
    remove(folder)


def copy_new(source: Path, destination: Path) -> None:
    """Copy a file with its access and its times."""
    status = source.stat()
    with source.open("rb", buffering=0) as file:
        write_new(destination, [Span(file, 0, status.st_size)], Access.from_status(status))
    os.utime(destination, ns=(status.st_atime_ns, status.st_mtime_ns))


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview], access: Access | None = None) -> None:
    """Write or overwrite a file so that a reader sees the old bytes or the new ones, also after a power cut.

    A file that is there keeps its access; a new one gets `access`.
    """
    kept = Access.of(path) if path.exists() else access
    staged = path.with_name(temporary_name(path.name))
    try:
        write_new(staged, chunks, kept)
        replace(staged, path)
    except BaseException:
        remove(staged)
        raise
