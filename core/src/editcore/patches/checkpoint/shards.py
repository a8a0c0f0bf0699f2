"""The files with the tensors of a checkpoint folder, and the place of each tensor in them. Nothing is written."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from editcore.patches.checkpoint.stack import file_name, stack_hash
from editcore.storage.canonical import load_json
from editcore.storage.safetensors_reader import Entry, read_header
from editcore_hooks import RefusedFileError, UsageError

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
_SUFFIX: Final = ".safetensors"
_LONGEST_STEM: Final = 200
"""Bytes, so that what is added to the name of a shard stays within what a file system takes."""


@frozen
class Shards:
    """`files` maps each tensor key to its file name; `entries` to its place in that file."""

    files: Mapping[str, str]
    entries: Mapping[str, Entry] = field(repr=False)
    index: Mapping[str, Any] | None = field(default=None, repr=False)


def read_shards(folder: Path) -> Shards:
    """Find and check the weight files. A single file wins over an index, as it does in transformers.

    Raises `UsageError` when there is no folder and `RefusedFileError` for what must not be read.
    """
    if folder.is_file():
        hint = f"give the folder, {folder.parent}" if folder.suffix == ".safetensors" else _CONVERT
        raise RefusedFileError(f"{folder} is a file, not a checkpoint folder", hint=hint)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", hint="give a folder with config.json and model.safetensors")
    if (folder / SINGLE).is_file():
        entries = read_header(folder / SINGLE).entries
        return Shards(dict.fromkeys(entries, SINGLE), entries)
    if (folder / INDEX).is_file():
        return _sharded(folder)
    for pattern, what in (("*.gguf", "GGUF"), ("*.bin", "pickled .bin"), ("*.pt*", "pickled PyTorch")):
        if any(folder.glob(pattern)):
            raise RefusedFileError(f"{folder} holds {what} weights, which editcore does not read", hint=_CONVERT)
    raise RefusedFileError(f"{folder} holds no {SINGLE}", hint="give the folder that save_pretrained wrote")


_CONVERT: Final = (
    "if you trust its source, load it with transformers and call save_pretrained(FOLDER), which writes safetensors"
)


def read_index(path: Path) -> dict[str, Any]:
    """An index file whose names are plain names of safetensors files. Raises `RefusedFileError`."""
    try:
        index = load_json(path.read_bytes(), str(path))
    except OSError as error:
        raise RefusedFileError(f"cannot read {path}: {error.strerror}", hint=_COPY_AGAIN) from error
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict) or not files:
        raise RefusedFileError(f"{path} has no weight_map", hint=_COPY_AGAIN)
    for name in set(map(str, files.values())):
        if not _is_name(name) or not name.endswith(".safetensors"):
            raise RefusedFileError(f"{path} names {name!r}, which is not a file of its folder", hint=_COPY_AGAIN)
    return index  # type: ignore[no-any-return]


def shard_name(original: str, patch_ids: Iterable[str]) -> str:
    """The name of a shard with these patches on it: the original's without any, so that it comes back on revert."""
    ids = set(patch_ids)
    return f"{_stem(original)}.editcore-{stack_hash(ids)[:12]}{_SUFFIX}" if ids else original


def is_shard_of(name: str, original: str) -> bool:
    """Whether `name` is that of the shard `original`, with whatever patches on it or without."""
    pattern = rf"{re.escape(_stem(original))}\.editcore-[0-9a-f]{{12}}{re.escape(_SUFFIX)}"
    return name == original or re.fullmatch(pattern, name) is not None


def _stem(original: str) -> str:
    stem = original.removesuffix(_SUFFIX)
    if len(stem.encode()) <= _LONGEST_STEM:
        return stem
    digits = hashlib.sha256(stem.encode()).hexdigest()[:12]
    return f"{stem.encode()[: _LONGEST_STEM - 13].decode(errors='ignore')}-{digits}"


def _is_name(name: str) -> bool:
    try:
        return bool(file_name(name))
    except ValueError:
        return False


def _sharded(folder: Path) -> Shards:
    where = folder / INDEX
    index = read_index(where)
    files: dict[str, str] = index["weight_map"]
    found: dict[str, Entry] = {}
    for name in sorted(set(files.values())):
        if not (folder / name).is_file():
            raise RefusedFileError(f"{folder / name} is missing, but the index names it", hint=_COPY_AGAIN)
        for key, entry in read_header(folder / name).entries.items():
            if key in found:
                raise RefusedFileError(f"{folder} holds tensor {key} in two shards", hint=_COPY_AGAIN)
            found[key] = entry
            if files.get(key, name) != name:
                raise RefusedFileError(f"{where} puts {key} elsewhere than {name}, where it is", hint=_COPY_AGAIN)
    for key, name in files.items():
        if key not in found:
            raise RefusedFileError(f"{where} puts {key} into {name}, where it is not", hint=_COPY_AGAIN)
    return Shards(files, {key: found[key] for key in files}, index)


_COPY_AGAIN: Final = "copy or download the checkpoint again"
