"""Tensor hashes remembered by file, size and time: in memory always, on disk beside the patches of a patched folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field

from editcore.patches import durable
from editcore.patches.canonical import load_json
from editcore.patches.stack import FOLDER
from editcore_hooks import RefusedFileError


@define
class HashCache:
    """A cache only: `verify` never asks it, and what it cannot read it forgets."""

    folder: Path
    _files: dict[str, dict[str, Any]] = field(factory=dict)

    @classmethod
    def load(cls, folder: Path) -> "HashCache":
        try:
            document = load_json((folder / FOLDER / "hashes.json").read_bytes(), "the cache of hashes")
        except (OSError, RefusedFileError):
            return cls(folder)
        files = document if isinstance(document, dict) else {}
        return cls(folder, {name: value for name, value in files.items() if _is_record(value)})

    def adopt(self, other: "HashCache") -> None:
        """Take over what another cache knows of files of these names; what no longer fits a file is not believed."""
        self._files = {**other._files, **self._files}

    def known(self, path: Path, key: str) -> str | None:
        """The hash of tensor `key` in `path` if it need not be computed."""
        record = self._files.get(path.name)
        return record["tensors"].get(key) if record is not None and record["stamp"] == _stamp(path) else None

    def get(self, path: Path, key: str, compute: Callable[[], str]) -> str:
        """The hash of tensor `key` in `path`, computed when file, size or modification time are new."""
        stamp = _stamp(path)
        record = self._files.get(path.name)
        if record is None or record["stamp"] != stamp:
            record = self._files[path.name] = {"stamp": stamp, "tensors": {}}
        if key not in record["tensors"]:
            record["tensors"][key] = compute()
        return str(record["tensors"][key])

    def forget(self) -> None:
        """Have every hash computed again."""
        self._files.clear()

    def save(self) -> None:
        files = {name: record for name, record in self._files.items() if (self.folder / name).exists()}
        text = json.dumps(files, sort_keys=True)
        durable.write_atomically(self.folder / FOLDER / "hashes.json", [text.encode()])


def _stamp(path: Path) -> str:
    status = path.stat()
    # A string, because nanoseconds since 1970 are beyond what JSON holds exactly.
    return f"{status.st_size}:{status.st_mtime_ns}"


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("stamp"), str) and isinstance(value.get("tensors"), dict)
