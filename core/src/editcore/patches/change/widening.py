"""Rewriting the weight files of a folder with some tensors of another shape; all other bytes stay as they are."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from editcore.patches.change.rewrites import original_files
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.shards import INDEX, read_index
from editcore.patches.checkpoint.stack import FOLDER, STACK_FILE
from editcore.storage import durable
from editcore.storage.safetensors_reader import DTYPE_BITS, read_header
from editcore.storage.safetensors_writer import Streamed, write_streamed


def rewrite(checkpoint: Checkpoint, replaced: Mapping[str, Streamed]) -> None:
    """Give the tensors of `replaced` other shapes and bytes, and every weight file its name in the base.

    Patches that are on the folder stay in the bytes, and their record goes: nothing can be taken back any more. Not
    atomic, for a folder that nobody sees yet. Raises `OSError`.
    """
    folder, names = checkpoint.folder, original_files(checkpoint)
    for name in sorted(set(checkpoint.shards.files.values())):
        path = folder / name
        header = read_header(path)
        tensors = {
            key: replaced.get(key) or Streamed(entry.dtype, entry.shape, _reader(checkpoint, key))
            for key, entry in header.entries.items()
        }
        (original,) = {names[key] for key in header.entries}
        staged = folder / f"{original}.editcore.tmp"
        write_streamed(staged, tensors, header.metadata, durable.Access.of(path))
        durable.remove(path)
        durable.replace(staged, folder / original)
    if checkpoint.shards.index is not None:
        _rewrite_index(checkpoint, names, replaced)
    _forget_patches(checkpoint)


def _reader(checkpoint: Checkpoint, key: str) -> Callable[[], bytes]:
    return lambda: checkpoint.read(key)


def _rewrite_index(checkpoint: Checkpoint, names: Mapping[str, str], replaced: Mapping[str, Streamed]) -> None:
    path = checkpoint.folder / INDEX
    index: dict[str, Any] = read_index(path)
    counts = {
        key: (math.prod(replaced[key].shape if key in replaced else entry.shape), DTYPE_BITS[entry.dtype])
        for key, entry in checkpoint.entries.items()
    }
    metadata = dict(index.get("metadata") or {})
    metadata["total_size"] = sum(count * bits // 8 for count, bits in counts.values())
    if "total_parameters" in metadata:
        metadata["total_parameters"] = sum(count for count, _ in counts.values())
    written = {**index, "metadata": metadata, "weight_map": dict(sorted(names.items()))}
    durable.write_atomically(path, [json.dumps(written, indent=2, sort_keys=True).encode() + b"\n"])


def _forget_patches(checkpoint: Checkpoint) -> None:
    folder = checkpoint.folder
    for path in sorted((folder / FOLDER).rglob("*"), reverse=True):
        durable.remove(path)
    durable.remove(folder / FOLDER)
    durable.remove(folder / STACK_FILE)
