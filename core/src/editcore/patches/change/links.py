"""The links of a folder that a copy follows: those that stay inside it, or lead to the files of its own
download cache. Any other would bring a file of this machine into a copy that people pass on."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from attrs import frozen


@frozen
class Reach:
    """The folders, without links in their paths, in which links may end."""

    roots: tuple[Path, ...]

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The cache of a checkpoint folder, or of a snapshot `models--OWNER--NAME/snapshots/COMMIT` of a cache."""
        own = folder.resolve()
        repository = own.parent.parent
        in_cache = own.parent.name == "snapshots" and repository.name.startswith("models--")
        return cls((own, (repository / "blobs").resolve()) if in_cache else (own,))

    def fault(self, path: Path, above: tuple[Path, ...]) -> str | None:
        """Why `path` is not copied, or None; `above` are the folders that it lies in, without links."""
        if path.is_symlink():
            where = f"{path} is a link to {os.readlink(path)}"
            try:
                target = path.resolve(strict=True)
            except (OSError, RuntimeError):  # a circle is one or the other, depending on the version of Python
                return f"{where}, which is not there"
            if not any(target.is_relative_to(root) for root in self.roots):
                return f"{where}, outside the folder"
            if target in above:
                return f"{where}, which it lies in"
        return None if path.is_dir() or path.is_file() else f"{path} is neither a file nor a folder"


def faults(
    folder: Path, reach: Reach, skip: Callable[[Path], bool], above: tuple[Path, ...] = ()
) -> Iterator[tuple[Path, str]]:
    """Every path under `folder`, but for those to `skip`, that is not copied, and why."""
    above = (*above, folder.resolve())
    for path in sorted(folder.iterdir()):
        if skip(path):
            continue
        if fault := reach.fault(path, above):
            yield path, fault
        elif path.is_dir():
            yield from faults(path, reach, skip, above)
