"""Cache of the plugins' last answers on disk, so that `--help` does not load each of them again.

An answer holds for exactly the installation that gave it: the interpreter, `EDITCORE_PLUGINS`, every folder of
`sys.path` with the distributions in it, and every file that was imported to get the answer. If any of these differs,
plugins are asked again. Nothing is kept while a plugin is broken. The file is JSON, belongs to the user, and is ignored
when others may write it.
"""

import os
import stat
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from editcore.assets.folder import cache_path

Stamp = list[int]

_FORMAT: Final = 1
_LARGEST: Final = 1 << 20
_SETTLED: Final = 2.0
"""Seconds: a file changed later than that before the answer may change once more with the same time of change."""
_METADATA: Final = (".dist-info", ".egg-info")
_DESCRIBING: Final = ("entry_points.txt", "METADATA", "PKG-INFO")


class Remembered:
    """One kind of answer, `commands` or `plugins`."""

    def __init__(self, kind: str) -> None:
        from zlib import crc32

        # One file for each environment, or two of them would take turns in overwriting one.
        of = f"{sys.prefix}\0{os.environ.get('EDITCORE_PLUGINS')}"
        self._path = os.path.join(cache_path(), f"{kind}-{crc32(of.encode(errors='replace')):08x}.json")

    def recall(self) -> Any:
        """The answer as JSON values; None when there is none for this installation."""
        import json

        try:
            kept = json.loads(_read_own(self._path))
            if kept["installation"] != _installation():
                return None
            files = kept["files"]
            return kept["answer"] if all(_stamp(path) == files[path] for path in files) else None
        except (OSError, ValueError, TypeError, LookupError, RecursionError):
            return None

    def keep(self, answer: Any) -> None:
        """Keep the answer of this process; does nothing where that cannot be written, or where files just changed."""
        import json

        try:
            installation, files = _installation(), _imported()
            if _newest(installation, files) > time.time_ns() - _SETTLED * 1e9:
                return
            whole = {"installation": installation, "files": files, "answer": answer}
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            unfinished = f"{self._path}.{os.getpid()}"
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(whole, file)
            os.replace(unfinished, self._path)
        except (OSError, ValueError):
            return


def _read_own(path: str) -> str:
    """The text of a file that the user alone writes. Raises `OSError` or `ValueError` for any other."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, encoding="utf-8") as file:
        found = os.fstat(descriptor)
        own = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)
        if not own or not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            raise ValueError(f"{path} is not a file of one's own")
        return file.read()


def _installation() -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "python": [sys.version, sys.prefix],
        "setting": os.environ.get("EDITCORE_PLUGINS"),
        "finders": [getattr(finder, "__name__", type(finder).__name__) for finder in sys.meta_path],
        "path": [[folder, _distributions(folder)] for folder in map(os.path.abspath, sys.path)],
    }


def _distributions(folder: str) -> Any:
    """The metadata in one entry of `sys.path`, each with the stamps of the files that discovery reads."""
    if os.path.isfile(folder):  # a zip
        return _stamp(folder)
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(_METADATA))
    except OSError:
        return None
    return [[name, *(_stamp(os.path.join(folder, name, part)) for part in _DESCRIBING)] for name in names]


def _imported() -> dict[str, Stamp | None]:
    """Every file that a module of this process came from."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return {os.path.abspath(file): _stamp(file) for file in files if isinstance(file, str)}


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size]


def _newest(installation: dict[str, Any], files: dict[str, Stamp | None]) -> int:
    return max((stamp[0] for stamp in _stamps([installation["path"], list(files.values())])), default=0)


def _stamps(value: Any) -> Iterator[Stamp]:
    if isinstance(value, list):
        if len(value) == 2 and all(type(item) is int for item in value):
            yield value
        else:
            for item in value:
                yield from _stamps(item)
