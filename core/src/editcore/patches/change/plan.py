"""The plan of a change of a folder, decided and checked before a byte is written. `--dry-run` prints it."""

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from editcore.patches.change.dependents import required_first
from editcore.patches.change.exclusive import refuse_shared, refuse_twice
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.resolving import Verdict, require_base
from editcore.patches.checkpoint.shards import INDEX, SINGLE, read_index, shard_name
from editcore.patches.checkpoint.stack import original_index_path
from editcore.patches.checkpoint.stored import stored_patch
from editcore.patches.file.kinds import owner_of
from editcore.patches.file.patch import Patch
from editcore_hooks import ConflictError, PatchKind, RefusedFileError

Touched = Mapping[str, Mapping[str, str]]
"""Checkpoint key to the patches that touch it: id to the name that the patch has for the tensor."""


@frozen
class Rewrite:
    """One weight file to write: `keys` are its tensors that change; the names are equal for a single file."""

    source: str
    destination: str
    keys: tuple[str, ...]


@frozen
class Plan:
    """`patches` and `touched` are those after the change; `added` the new patches; `originals` each key's base file."""

    checkpoint: Checkpoint = field(repr=False)
    patches: tuple[Mapping[str, Any], ...]
    touched: Touched
    changed: tuple[str, ...]
    rewrites: tuple[Rewrite, ...]
    originals: Mapping[str, str] = field(repr=False)
    added: tuple[Patch, ...] = ()
    verdicts: Mapping[str, Verdict] = field(factory=dict)
    notices: tuple[str, ...] = ()

    @property
    def bytes_to_write(self) -> int:
        """Weight files to rewrite, and originals to keep of tensors touched for the first time."""
        checkpoint = self.checkpoint
        with checkpoint.unchanged():
            files = sum((checkpoint.folder / rewrite.source).stat().st_size for rewrite in self.rewrites)
        fresh = [checkpoint.entries[key] for key in self.changed if key not in checkpoint.stack.targets]
        return files + sum(entry.end - entry.start for entry in fresh)

    @property
    def flop(self) -> int:
        """FLOP of the products of low-rank factors, including present patches on the same tensors."""
        added, total = {patch.patch_id: patch for patch in self.added}, 0
        for key in self.changed:
            for patch_id, name in self.touched.get(key, {}).items():
                target = (added.get(patch_id) or stored_patch(self.checkpoint, patch_id)).targets[name]
                total += 2 * math.prod(target.shape) * target.rank
        return total


def plan_apply(checkpoint: Checkpoint, patches: Sequence[Patch], strict: bool = False) -> Plan:
    """`plan_change` that puts `patches` on."""
    return plan_change(checkpoint, patches, strict=strict)


def plan_change(
    checkpoint: Checkpoint,
    added: Sequence[Patch] = (),
    removed: Collection[str] = (),
    *,
    strict: bool = False,
    shared: bool = False,
    notices: tuple[str, ...] = (),
) -> Plan:
    """Check patches to put on, and ids to take off in the same change, against stack and base.

    `notices` are further lines for the person who asks. With `shared` a form that excludes others may share its tensor,
    and a patch may be there twice, inside a squash: such a plan can be looked at, and not be carried out. Raises
    `ConflictError` (present already, requirement missing, not a weights patch), `WrongBaseError`, `RefusedFileError`
    (a changed file).
    """
    stack = checkpoint.stack
    staying = [patch for patch in stack.patches if patch["id"] not in removed]
    _refuse_unfit(checkpoint, added, {patch["id"] for patch in staying})
    added = required_first(added)
    verdicts = {patch.patch_id: require_base(patch, checkpoint, strict) for patch in added}
    touched = {
        key: {patch_id: name for patch_id, name in target.patches.items() if patch_id not in removed}
        for key, target in stack.targets.items()
    }
    for patch in added:
        for name, key in verdicts[patch.patch_id].keys.items():
            touched.setdefault(key, {})[patch.patch_id] = name
    if strict:
        _require_sound(checkpoint)
    if not shared:
        refuse_twice(checkpoint, added, removed)
        refuse_shared(checkpoint, added, touched)
    said = [notice for patch in added for notice in (*patch.notices, *verdicts[patch.patch_id].notices)]
    records = [{"id": patch.patch_id, "title": patch.title} for patch in added]
    every = tuple(dict.fromkeys((*notices, *said)))
    return _plan(checkpoint, (*staying, *records), touched, tuple(added), verdicts, every)


def _refuse_unfit(checkpoint: Checkpoint, added: Sequence[Patch], staying: Collection[str]) -> None:
    ids = [patch.patch_id for patch in added]
    for patch in added:
        if patch.patch_id in staying or ids.count(patch.patch_id) > 1:
            raise ConflictError(
                f"patch {patch.patch_id[:12]} is applied already", hint=f"see `editcore stack {checkpoint.folder}`"
            )
        if missing := sorted(set(patch.requires) - set(staying) - set(ids)):
            raise ConflictError(
                f"patch {patch.patch_id[:12]} requires {', '.join(name[:12] for name in missing)}",
                hint="apply that first, or in the same command",
            )
        _refuse_runtime_kinds(patch)


def _plan(
    checkpoint: Checkpoint,
    patches: tuple[Mapping[str, Any], ...],
    touched: Touched,
    added: tuple[Patch, ...],
    verdicts: Mapping[str, Verdict],
    notices: tuple[str, ...],
) -> Plan:
    before = checkpoint.stack.targets
    changed = tuple(
        sorted(key for key in touched if dict(before[key].patches if key in before else {}) != dict(touched[key]))
    )
    for key in changed:
        _require_unchanged(checkpoint, key)
    originals = original_files(checkpoint)
    rewrites = _rewrites(checkpoint, touched, changed, originals)
    kept = {key: ids for key, ids in touched.items() if ids}
    return Plan(checkpoint, patches, kept, changed, rewrites, originals, added, verdicts, notices)


def _require_unchanged(checkpoint: Checkpoint, key: str) -> None:
    target = checkpoint.stack.targets.get(key)
    if target is not None and checkpoint.sha256(key) != target.result_sha256:
        raise RefusedFileError(
            f"{key} in {checkpoint.file(key)} was changed after it was patched",
            hint=f"see `editcore verify {checkpoint.folder}`",
        )


def _require_sound(checkpoint: Checkpoint) -> None:
    """Compare what the folder records of its base with the bytes: a record alone proves nothing of them."""
    for key in checkpoint.stack.targets:
        _require_unchanged(checkpoint, key)
        checkpoint.read_base(key)


def original_files(checkpoint: Checkpoint) -> Mapping[str, str]:
    """The file of the base that holds each tensor; a patched shard has another name than its original."""
    if checkpoint.shards.index is None or not checkpoint.patch_ids:
        return checkpoint.shards.files
    return read_index(original_index_path(checkpoint.folder))["weight_map"]  # type: ignore[no-any-return]


def _rewrites(
    checkpoint: Checkpoint, touched: Touched, changed: Iterable[str], originals: Mapping[str, str]
) -> tuple[Rewrite, ...]:
    by_file: dict[str, list[str]] = {}
    for key in changed:
        by_file.setdefault(originals[key], []).append(key)
    result = []
    for original, keys in sorted(by_file.items()):
        ids = {patch_id for key in touched if originals[key] == original for patch_id in touched[key]}
        destination = SINGLE if checkpoint.shards.index is None else shard_name(original, ids)
        source = checkpoint.shards.files[keys[0]]
        if destination != source and (checkpoint.folder / destination).exists():
            raise ConflictError(
                f"{checkpoint.folder / destination} blocks the change and belongs to nothing", hint="move it elsewhere"
            )
        result.append(Rewrite(source, destination, tuple(keys)))
    return tuple(result)


def new_index(plan: Plan) -> bytes:
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


def _refuse_runtime_kinds(patch: Patch) -> None:
    if patch.kind == "weights":
        return
    owner = owner_of(patch.core, patch.about)
    what = f"patch {patch.patch_id[:12]} is of kind {patch.kind} ({patch.core['payload']['kind']})"
    if owner is not None and owner.folds():
        hint = "editcore export PATCH --to merged --model DIR -o OUT folds it into one"
        raise ConflictError(f"{what}: {owner.unapplied}", hint=hint)
    method = patch.annotation("method")
    distribution = method.get("distribution")
    plugin = f"`pip install {distribution}`" if isinstance(distribution, str) else "install the plugin of its method"
    raise ConflictError(
        f"{what}: {(owner or PatchKind).unapplied}",
        hint=f"{plugin} and put it on an open session",
    )
