"""The plan of a change of a folder, decided and checked before a byte is written. `--dry-run` prints it."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from editcore.patches.change.dependents import refuse_required, required_first
from editcore.patches.change.exclusive import refuse_shared, refuse_twice
from editcore.patches.change.rewrites import Rewrite, Touched, original_files, rewrites_of
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.resolving import Verdict, require_base
from editcore.patches.checkpoint.stored import stored_patch
from editcore.patches.file.kinds import owner_of
from editcore.patches.file.patch import Patch
from editcore.text.ids import short
from editcore.text.shell import quoted
from editcore_hooks import ConflictError, PatchKind, RefusedFileError

if TYPE_CHECKING:
    from editcore.patches.forms.deltas import Delta


@frozen
class Plan:
    """`patches` and `touched` are those after the change; `added` the new patches; `originals` each key's base file.

    `removed` are the ids to take off, and `strict` is whether the whole base was compared.
    """

    checkpoint: Checkpoint = field(repr=False)
    patches: tuple[Mapping[str, Any], ...]
    touched: Touched
    changed: tuple[str, ...]
    rewrites: tuple[Rewrite, ...]
    originals: Mapping[str, str] = field(repr=False)
    added: tuple[Patch, ...] = ()
    removed: frozenset[str] = frozenset()
    verdicts: Mapping[str, Verdict] = field(factory=dict)
    notices: tuple[str, ...] = ()
    strict: bool = False

    @property
    def bytes_to_write(self) -> int:
        """Weight files to rewrite, and originals to keep of tensors touched for the first time."""
        checkpoint = self.checkpoint
        with checkpoint.unchanged():
            files = sum((checkpoint.folder / rewrite.source).stat().st_size for rewrite in self.rewrites)
        fresh = [checkpoint.entries[key] for key in self.changed if key not in checkpoint.stack.targets]
        return files + sum(entry.end - entry.start for entry in fresh)

    def deltas(self, key: str) -> "list[Delta]":
        """The patches of a tensor after the change, in the order in which they are added: that of the ids."""
        added = {patch.patch_id: patch for patch in self.added}
        return [
            delta
            for patch_id, name in sorted(self.touched.get(key, {}).items())
            for delta in (added.get(patch_id) or stored_patch(self.checkpoint, patch_id)).deltas(name)
        ]

    @property
    def flop(self) -> int:
        """FLOP of the products of low-rank factors, including present patches on the same tensors."""
        added, total = {patch.patch_id: patch for patch in self.added}, 0
        for key in self.changed:
            for patch_id, name in self.touched.get(key, {}).items():
                target = (added.get(patch_id) or stored_patch(self.checkpoint, patch_id)).targets[name]
                total += 2 * math.prod(target.shape) * target.rank
        return total


def plan_change(
    checkpoint: Checkpoint,
    added: Sequence[Patch] = (),
    removed: Collection[str] = (),
    *,
    strict: bool = False,
    shared: bool = False,
) -> Plan:
    """Check patches to put on, and ids to take off in the same change, against stack and base.

    With `shared` a form that excludes others may share its tensor, and a patch may be there twice, inside a squash:
    such a plan is for looking at conflicts, and `refuse_incompatible` comes before it is carried out. Raises
    `ConflictError` (present already, requirement missing, required by one that stays, not a weights patch),
    `WrongBaseError`, `RefusedFileError` (a changed file).
    """
    stack, removed = checkpoint.stack, frozenset(removed)
    if removed:
        refuse_required(checkpoint, removed)
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
    changed, originals = _changed(checkpoint, touched), original_files(checkpoint)
    return Plan(
        checkpoint,
        (*staying, *records),
        {key: ids for key, ids in touched.items() if ids},
        changed,
        rewrites_of(checkpoint, touched, changed, originals),
        originals,
        tuple(added),
        removed,
        verdicts,
        tuple(dict.fromkeys(said)),
        strict,
    )


def refuse_incompatible(plan: Plan) -> None:
    """Raise `ConflictError` where a plan made with `shared` has patches on one tensor that exclude each other, or one
    patch twice."""
    refuse_twice(plan.checkpoint, plan.added, plan.removed)
    refuse_shared(plan.checkpoint, plan.added, plan.touched)


def _refuse_unfit(checkpoint: Checkpoint, added: Sequence[Patch], staying: Collection[str]) -> None:
    ids = [patch.patch_id for patch in added]
    for patch in added:
        if patch.patch_id in staying or ids.count(patch.patch_id) > 1:
            raise ConflictError(
                f"patch {short(patch.patch_id)} is applied already",
                hint=f"see `editcore stack {quoted(checkpoint.folder)}`",
            )
        if missing := sorted(set(patch.requires) - set(staying) - set(ids)):
            raise ConflictError(
                f"patch {short(patch.patch_id)} requires {', '.join(short(name) for name in missing)}",
                hint="apply that first, or in the same command",
            )
        _refuse_runtime_kinds(patch)


def _changed(checkpoint: Checkpoint, touched: Touched) -> tuple[str, ...]:
    """The tensors whose patches would be others. Raises `RefusedFileError` for one that is not as it was patched."""
    before = checkpoint.stack.targets
    changed = sorted(key for key in touched if dict(before[key].patches if key in before else {}) != dict(touched[key]))
    for key in changed:
        _require_unchanged(checkpoint, key)
    return tuple(changed)


def _require_unchanged(checkpoint: Checkpoint, key: str) -> None:
    target = checkpoint.stack.targets.get(key)
    if target is not None and checkpoint.sha256(key) != target.result_sha256:
        raise RefusedFileError(
            f"{key} in {checkpoint.file(key)} was changed after it was patched",
            hint=f"see `editcore verify {quoted(checkpoint.folder)}`",
        )


def _require_sound(checkpoint: Checkpoint) -> None:
    """Compare what the folder records of its base with the bytes: a record alone proves nothing of them."""
    for key in checkpoint.stack.targets:
        _require_unchanged(checkpoint, key)
        checkpoint.read_base(key)


def _refuse_runtime_kinds(patch: Patch) -> None:
    if patch.kind == "weights":
        return
    owner = owner_of(patch.core, patch.about)
    what = f"patch {short(patch.patch_id)} is of kind {patch.kind} ({patch.payload_kind})"
    if owner is not None and owner.folds():
        hint = "fold it into one: editcore export PATCH --to merged --model DIR -o OUT"
        raise ConflictError(f"{what}: {owner.unapplied}", hint=hint)
    method = patch.annotation("method")
    distribution = method.get("distribution")
    plugin = f"`pip install {distribution}`" if isinstance(distribution, str) else "install the plugin of its method"
    beside = "editcore apply PATCH --model DIR -o OUT --runtime"
    hint = f"{plugin}, then {beside}" if owner is None else f"put it beside the weights: {beside}"
    raise ConflictError(f"{what}: {(owner or PatchKind).unapplied}", hint=hint)
