"""Tensor hashes that this process computed, remembered as long as the file is the one that was read.

They are never stored: a folder that could bring its own hashes could say that it holds what it does not hold. Size and
modification time can be copied together with other bytes, the time of the last change of an inode cannot be set.
"""

import os
from collections.abc import Callable
from pathlib import Path

from attrs import define, field

Stamp = tuple[int, ...]


@define
class HashCache:
    """`verify` does not use it."""

    folder: Path
    _files: dict[str, tuple[Stamp, dict[str, str]]] = field(factory=dict)

    def adopt(self, other: "HashCache") -> bool:
        """Take over the hashes of the same files, or of files that were copied from those of another folder by this
        process; hashes of a file that was changed since they were computed are left out, and then this is False."""
        unchanged = True
        for name, (stamp, tensors) in other._files.items():
            source, own = other.folder / name, self.folder / name
            if not (own.exists() and source.exists() and _stamp(source) == stamp):
                unchanged = False
            elif name not in self._files:
                self._files[name] = _stamp(own), dict(tensors)
        return unchanged

    def known(self, path: Path, key: str) -> str | None:
        """The hash of tensor `key` in `path` if it need not be computed."""
        stamp, tensors = self._files.get(path.name, ((), {}))
        return tensors.get(key) if tensors and stamp == _stamp(path) else None

    def get(self, path: Path, key: str, compute: Callable[[], str]) -> str:
        """The hash of tensor `key` in `path`, computed when the file is new or was changed."""
        now = _stamp(path)
        if path.name not in self._files or self._files[path.name][0] != now:
            self._files[path.name] = now, {}
        tensors = self._files[path.name][1]
        if key not in tensors:
            tensors[key] = compute()
        return tensors[key]

    def forget(self) -> None:
        """Have every hash computed again."""
        self._files.clear()


def _stamp(path: Path) -> Stamp:
    status: os.stat_result = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
