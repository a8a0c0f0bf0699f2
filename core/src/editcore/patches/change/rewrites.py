"""The weight files that a change writes, their names, and the index that names them."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from attrs import frozen

from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.shards import INDEX, SINGLE, read_index, shard_name
from editcore.patches.checkpoint.stack import original_index_path
from editcore_hooks import ConflictError

if TYPE_CHECKING:
    from editcore.patches.change.plan import Plan

Touched = Mapping[str, Mapping[str, str]]
"""Checkpoint key to the patches that touch it: id to the name that the patch has for the tensor."""


@frozen
class Rewrite:
    """One weight file to write: `keys` are its tensors that change; the names are equal for a single file."""

    source: str
    destination: str
    keys: tuple[str, ...]


def original_files(checkpoint: Checkpoint) -> Mapping[str, str]:
    """The file of the base that holds each tensor; a patched shard has another name than its original."""
    if checkpoint.shards.index is None or not checkpoint.patch_ids:
        return checkpoint.shards.files
    return read_index(original_index_path(checkpoint.folder))["weight_map"]  # type: ignore[no-any-return]


def rewrites_of(
    checkpoint: Checkpoint, touched: Touched, changed: Iterable[str], originals: Mapping[str, str]
) -> tuple[Rewrite, ...]:
    """The files that hold the `changed` tensors; a shard is named after the patches that touch it, `touched`."""
    by_file: dict[str, list[str]] = {}
    for key in changed:
        by_file.setdefault(originals[key], []).append(key)
    result = []
    for original, keys in sorted(by_file.items()):
        ids = {patch_id for key in touched if originals[key] == original for patch_id in touched[key]}
        destination = SINGLE if checkpoint.shards.index is None else shard_name(original, ids)
        result.append(Rewrite(checkpoint.shards.files[keys[0]], destination, tuple(keys)))
    refuse_occupied(checkpoint, result)
    return tuple(result)


def refuse_occupied(checkpoint: Checkpoint, rewrites: Iterable[Rewrite]) -> None:
    """Raise `ConflictError` where a file that is to be written is there already."""
    for rewrite in rewrites:
        path = checkpoint.folder / rewrite.destination
        if rewrite.destination != rewrite.source and path.exists():
            raise ConflictError(f"{path} blocks the change, and nothing records it", hint="move it elsewhere")


def new_index(plan: "Plan") -> bytes:
    """The index file after the change: byte for byte the original's when no patch is left."""
    folder, before = plan.checkpoint.folder, plan.checkpoint.patch_ids
    path = original_index_path(folder) if before else folder / INDEX
    if not plan.patches:
        return path.read_bytes()
    index = dict(read_index(path))
    by_file: dict[str, set[str]] = {}
    for key, ids in plan.touched.items():
        by_file.setdefault(plan.originals[key], set()).update(ids)
    index["weight_map"] = {
        key: shard_name(name, by_file.get(name, ())) for key, name in sorted(index["weight_map"].items())
    }
    return json.dumps(index, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
