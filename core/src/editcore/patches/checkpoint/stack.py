"""The stack of a folder: `editcore.json`, and the files in `.editcore/` that make it reversible.

`editcore.json`: base, ordered ids, hash of every result. In `.editcore/`: `patches/<id>.safetensors`;
`originals/<sha256>.raw`, the stored bytes of each touched tensor of the base, and the index of a sharded base;
`journal.json`, only while something is being written. Older versions also kept a cache there, `hashes.json`, which is
no longer read.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from editcore.storage.canonical import load_json, sha256_of
from editcore.text.ids import short
from editcore_hooks import RefusedFileError, UsageError

STACK_FILE: Final = "editcore.json"
FOLDER: Final = ".editcore"
_FORMAT: Final = "editcore.stack"
_VERSION: Final = "1.0"
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_FEWEST: Final = 6
"""Characters of an id that name a patch: fewer are as easily another's."""
LONGEST_NAME: Final = 255
"""Bytes of a file name, on every file system that matters."""


def stack_hash(patch_ids: Iterable[str]) -> str:
    """The hash of a set of patches. Of the set: weights depend on it alone, the order is only history."""
    return sha256_of(sorted(set(patch_ids)))


@frozen
class StackedTarget:
    """A touched tensor: original shard, what the base has, what is there now, and each patch's own name for it."""

    file: str
    dtype: str
    shape: tuple[int, ...]
    base_sha256: str
    result_sha256: str
    patches: Mapping[str, str]


@frozen
class Stack:
    """Patches in the order they were put on, and the tensors they touch. Empty for a plain checkpoint.

    `untouched` holds hashes of other tensors, of those that were known when the patches were put on.
    """

    base: Mapping[str, Any] = field(factory=dict)
    patches: tuple[Mapping[str, Any], ...] = ()
    targets: Mapping[str, StackedTarget] = field(factory=dict)
    untouched: Mapping[str, str] = field(factory=dict, repr=False)

    @property
    def patch_ids(self) -> tuple[str, ...]:
        return tuple(patch["id"] for patch in self.patches)

    @property
    def hash(self) -> str:
        return stack_hash(self.patch_ids)

    def find(self, prefix: str) -> str:
        """The one id that begins with `prefix` (six characters at least). Raises `UsageError`."""
        refuse_short(prefix, self.patch_ids)
        found = [patch_id for patch_id in self.patch_ids if patch_id.startswith(prefix)]
        if len(found) != 1:
            named = short(prefix) if _HEX.fullmatch(prefix) else prefix
            what = "is ambiguous" if found else "is not applied here"
            raise UsageError(f"patch {named} {what}", hint="see `editcore stack DIR` for the ids")
        return found[0]

    def as_json(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "format_version": _VERSION,
            "base": dict(self.base),
            "patches": [dict(patch) for patch in self.patches],
            "stack_hash": self.hash,
            "targets": {
                key: {
                    "file": target.file,
                    "dtype": target.dtype,
                    "shape": list(target.shape),
                    "base_sha256": target.base_sha256,
                    "result_sha256": target.result_sha256,
                    "patches": dict(target.patches),
                }
                for key, target in self.targets.items()
            },
            **({"untouched": dict(self.untouched)} if self.untouched else {}),
        }

    def as_bytes(self) -> bytes:
        text = json.dumps(self.as_json(), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return text.encode() + b"\n"

    @classmethod
    def from_json(cls, document: Any, where: str) -> "Stack":
        """Check and read. Raises `RefusedFileError`; `where` names the file."""
        try:
            version = document["format_version"]
            # A newer version may record what this one would lose when it writes the record again.
            if document["format"] != _FORMAT or version != _VERSION:
                raise RefusedFileError(
                    f"{where} has format {document['format']} {version}, which this version does not read",
                    hint="pip install --upgrade editcore",
                )
            stack = cls(
                dict(document["base"]),
                tuple({"id": _hex(patch["id"]), "title": _text(patch["title"])} for patch in document["patches"]),
                {key: _target(value) for key, value in document["targets"].items()},
                {key: _hex(value) for key, value in document.get("untouched", {}).items()},
            )
            known = set(stack.patch_ids)
            if len(known) != len(stack.patches) or document["stack_hash"] != stack.hash:
                raise ValueError("its hash does not match its ids")
            if any(not set(target.patches) <= known for target in stack.targets.values()):
                raise ValueError("a target names a patch that is not applied")
            if not all(target.patches for target in stack.targets.values()):
                raise ValueError("a target names no patch")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RefusedFileError(f"{where} is damaged ({error})", hint=_COPY) from error
        return stack


def refuse_short(prefix: str, patch_ids: Iterable[str]) -> None:
    """Raise `UsageError` for a beginning of an id that is too short to mean one, with the ids that it could mean."""
    if len(prefix) >= _FEWEST:
        return
    meant = [short(patch_id) for patch_id in patch_ids if prefix and patch_id.startswith(prefix)]
    raise UsageError(
        f"{prefix!r} is too short for an id, of which {_FEWEST} characters are needed at least",
        hint=f"write {' or '.join(meant)}" if meant else "see `editcore stack DIR` for the ids",
    )


def read_stack_file(folder: Path) -> Stack:
    """The stack that `editcore.json` records, empty without one; a journal is not looked at."""
    path = folder / STACK_FILE
    if not path.exists():
        return Stack()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RefusedFileError(f"cannot read {path}: {error.strerror}", hint=_COPY) from error
    return Stack.from_json(load_json(data, str(path)), str(path))


def refuse_links(folder: Path) -> None:
    """Refuse a folder whose record is elsewhere: writing and sweeping must stay inside it."""
    for path in (folder / STACK_FILE, *(folder / FOLDER / name for name in (".", "patches", "originals"))):
        if path.is_symlink():
            raise RefusedFileError(f"{path} is a link, which editcore does not follow", hint="copy the folder whole")


def patch_path(folder: Path, patch_id: str) -> Path:
    return folder / FOLDER / "patches" / f"{patch_id}.safetensors"


def original_path(folder: Path, sha256: str) -> Path:
    return folder / FOLDER / "originals" / f"{sha256}.raw"


def original_index_path(folder: Path) -> Path:
    return folder / FOLDER / "originals" / "model.safetensors.index.json"


def file_name(value: Any) -> str:
    """A plain name of a file in its folder. Raises `ValueError` for anything else: names become paths."""
    plain = isinstance(value, str) and value not in ("", ".", "..") and not set(value) & set("/\\\0")
    if not plain or len(value.encode()) > LONGEST_NAME:
        raise ValueError(f"{str(value)[:80]!r} is not a file name")
    return str(value)


_COPY: Final = "copy the base again and apply the patches in .editcore/patches"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:80]!r} is not a text")
    return value


def _hex(value: Any) -> str:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ValueError(f"{value!r} is not a hash")
    return value


def _target(value: Mapping[str, Any]) -> StackedTarget:
    if not all(type(size) is int for size in value["shape"]):
        raise ValueError(f"{str(value['shape'])[:80]} is not a shape")
    return StackedTarget(
        file_name(value["file"]),
        _text(value["dtype"]),
        tuple(value["shape"]),
        _hex(value["base_sha256"]),
        _hex(value["result_sha256"]),
        {_hex(patch_id): _text(key) for patch_id, key in value["patches"].items()},
    )
