"""Patching a folder in place: journal, new files, one rename. A kill leaves the old state or the new one."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
from attrs import frozen
from editcore_hooks import Applied, ConflictError, EditcoreError, RefusedFileError

from editcore.patches import durable, lock
from editcore.patches.checkpoint import Checkpoint
from editcore.patches.journal import Journal, journal_path, read_journal, refuse_repairable, write_journal
from editcore.patches.patch import Patch, PatchHeader
from editcore.patches.plan import Plan, new_index, plan_apply, plan_revert
from editcore.patches.repairing import finish, settle
from editcore.patches.shards import INDEX, SINGLE
from editcore.patches.splice import Replacement, splice
from editcore.patches.stack import (
    FOLDER,
    Stack,
    StackedTarget,
    original_index_path,
    original_path,
    patch_path,
    read_stack_file,
    refuse_links,
)


@frozen
class AppliedOnDisk(Applied):
    """What a folder holds after a change; `notices` are lines for the person who asked for it."""

    stack_hash: str = ""
    notices: tuple[str, ...] = ()


def apply_on_disk(checkpoint: Checkpoint | Path | str, patches: Sequence[Patch], strict: bool = False) -> AppliedOnDisk:
    """Put patches on a folder, in place; `strict` asks for the whole base, not just the tensors that are touched.

    Raises what `plan_apply` and `Checkpoint.open` raise, and then nothing on disk has changed.
    """
    return _change(checkpoint, lambda opened: plan_apply(opened, patches, strict))


def revert_on_disk(checkpoint: Checkpoint | Path | str, ids: Sequence[str]) -> AppliedOnDisk:
    """Take patches off a folder, in any order, by rebuilding from the originals without them.

    With the last one gone every file is as it was, byte for byte. Raises what `plan_revert` raises, and `ConflictError`
    when a patch that stays requires one that goes.
    """

    def plan(opened: Checkpoint) -> Plan:
        gone = {opened.stack.find(prefix) for prefix in ids}
        computed_on: dict[str, str] = {}
        for patch_id in opened.patch_ids:
            if patch_id not in gone:
                staying = _stored(opened, patch_id)
                _refuse_required(staying, gone)
                computed_on[patch_id] = str(staying.about.get("computed_on"))
        return plan_revert(opened, sorted(gone), computed_on)

    return _change(checkpoint, plan)


def _change(checkpoint: Checkpoint | Path | str, decide: Callable[[Checkpoint], Plan]) -> AppliedOnDisk:
    folder = checkpoint.folder if isinstance(checkpoint, Checkpoint) else Path(checkpoint)
    with lock.writing(folder):
        refuse_links(folder)
        refuse_repairable(folder)
        # Opened again: what the caller read may be older than the lock.
        opened = Checkpoint.open(folder)
        if opened.in_hub_cache:
            raise RefusedFileError(
                f"{folder} belongs to a download cache, which other programs share",
                hint="write a patched copy with `editcore apply PATCH --model DIR -o OUT`",
            )
        plan = decide(opened)
        if not plan.changed:
            return AppliedOnDisk(opened.patch_ids, {}, opened.stack.hash, plan.notices)
        try:
            stack = _execute(plan)
        except OSError as error:
            raise EditcoreError(f"cannot write in {folder}: {error.strerror}", hint=_next_step(plan)) from error
        results = {key: target.result_sha256 for key, target in stack.targets.items()}
        return AppliedOnDisk(stack.patch_ids, results, stack.hash, (*plan.notices, *_other_bits(plan, stack)))


def _execute(plan: Plan) -> Stack:
    opened = plan.checkpoint
    folder = opened.folder
    final = SINGLE if opened.shards.index is None else INDEX
    renamed = [rewrite for rewrite in plan.rewrites if rewrite.source != rewrite.destination]
    journal = Journal(
        "prepare",
        f"{final}.editcore.tmp",
        final,
        opened.stack,
        old_files=tuple(rewrite.source for rewrite in renamed),
        new_files=tuple(rewrite.destination for rewrite in renamed),
    )
    durable.make_folder(folder / FOLDER)
    try:
        write_journal(folder, journal)
        _keep(plan)
        results = _write_weights(plan, folder / journal.staged)
        journal = attrs.evolve(journal, phase="commit", new=_stack_after(plan, results))
        durable.sync_folder(folder)
        write_journal(folder, journal)
        durable.replace(folder / journal.staged, folder / journal.final)
        finish(folder, journal)
    except BaseException:
        _settle_quietly(folder)
        raise
    if journal.new.patches:
        with contextlib.suppress(OSError):  # a cache
            opened.hashes.save()
    return journal.new


def _settle_quietly(folder: Path) -> None:
    # The first error is the one to report; whatever this cannot clear stays in the journal for `repair`.
    with contextlib.suppress(EditcoreError, OSError):
        journal = read_journal(folder)
        if journal is not None:
            settle(folder, journal)
        else:
            durable.remove(folder / FOLDER)


def _next_step(plan: Plan) -> str:
    folder = plan.checkpoint.folder
    if journal_path(folder).exists():
        return f"make room, then run `editcore repair {folder}`"
    if read_stack_file(folder).patch_ids != plan.checkpoint.patch_ids:
        return "the change itself is complete"
    return "nothing has changed; make room and try again"


def _keep(plan: Plan) -> None:
    """Store the new patches, and the originals of what is touched for the first time."""
    opened = plan.checkpoint
    folder = opened.folder
    for name in ("patches", "originals"):
        durable.make_folder(folder / FOLDER / name)
    for patch in plan.added:
        patch.save(patch_path(folder, patch.patch_id))
    for key in plan.changed:
        if key not in opened.stack.targets:
            path = original_path(folder, opened.sha256(key))
            if not path.exists():
                durable.write_atomically(path, [opened.read(key)])
    if opened.shards.index is not None and not opened.patch_ids:
        durable.write_atomically(original_index_path(folder), [(folder / INDEX).read_bytes()])


def _write_weights(plan: Plan, staged: Path) -> dict[str, str]:
    """Write the new shards under their names and `staged`, the file that the commit renames; return result hashes."""
    opened = plan.checkpoint
    results: dict[str, str] = {}
    for rewrite in plan.rewrites:
        destination = staged if opened.shards.index is None else opened.folder / rewrite.destination
        replacements = {key: Replacement(opened.entries[key], _producer(plan, key)) for key in rewrite.keys}
        results |= splice(opened.folder / rewrite.source, destination, replacements)
    if opened.shards.index is not None:
        durable.write_new(staged, [new_index(plan)], (opened.folder / INDEX).stat().st_mode & 0o777)
    return results


def _producer(plan: Plan, key: str) -> Callable[[], bytes]:
    def produce() -> bytes:
        opened = plan.checkpoint
        base = opened.read_base(key)
        names = plan.touched.get(key, {})
        if not names:
            return base
        from editcore.patches.arithmetic import rebuild_bytes

        added = {patch.patch_id: patch for patch in plan.added}
        deltas = [
            delta
            for patch_id in sorted(names)
            for delta in (added.get(patch_id) or _stored(opened, patch_id)).deltas(names[patch_id])
        ]
        entry = opened.entries[key]
        return rebuild_bytes(base, entry.dtype, entry.shape, deltas, key)

    return produce


def _stack_after(plan: Plan, results: dict[str, str]) -> Stack:
    opened, before = plan.checkpoint, plan.checkpoint.stack
    base = dict(before.base) or {"name": _base_name(plan), "weights_root": _base_root(plan)}
    targets = {
        key: StackedTarget(
            plan.originals[key],
            opened.entries[key].dtype,
            opened.entries[key].shape,
            opened.base_sha256(key),
            results[key] if key in results else before.targets[key].result_sha256,
            names,
        )
        for key, names in plan.touched.items()
    }
    return Stack(base if plan.patches else {}, plan.patches, targets)


def _base_name(plan: Plan) -> str | None:
    names = [patch.annotation("base").get("name") for patch in plan.added]
    return next((name for name in names if isinstance(name, str)), None)


def _base_root(plan: Plan) -> str | None:
    """The root, where the plan computed it; a verdict on the targets alone is no reason to hash a whole model."""
    exact = any(verdict.kind == "exact" for verdict in plan.verdicts.values())
    return plan.checkpoint.weights_root() if exact else None


def _stored(opened: Checkpoint, patch_id: str) -> PatchHeader:
    header = Patch.read_header(patch_path(opened.folder, patch_id))
    if header.patch_id != patch_id:
        raise RefusedFileError(
            f"{header.path} holds patch {header.patch_id[:12]} instead",
            hint="put the patch of that name back in its place",
        )
    return header


def _refuse_required(staying: PatchHeader, gone: set[str]) -> None:
    if needed := sorted(gone & set(staying.requires)):
        title = f" ({staying.title})" if staying.title else ""
        raise ConflictError(
            f"patch {staying.patch_id[:12]}{title} requires {', '.join(name[:12] for name in needed)}",
            hint="revert both in one command",
        )


def _other_bits(plan: Plan, stack: Stack) -> tuple[str, ...]:
    """Results that a patch recorded on another machine and that came out otherwise here."""
    notices = []
    for patch in plan.added:
        recorded = patch.annotation("result_sha256")
        for name, key in plan.verdicts[patch.patch_id].keys.items():
            alone = set(stack.targets[key].patches) == {patch.patch_id}
            if alone and name in recorded and recorded[name] != stack.targets[key].result_sha256:
                notices.append(f"{key} came out with other bits than patch {patch.patch_id[:12]} recorded elsewhere")
    return tuple(notices)
