"""Making a planned change: new files, journal, the one rename, and clearing up."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import attrs

from editcore.patches import durable
from editcore.patches.journal import Journal, read_journal, write_journal
from editcore.patches.plan import Plan, new_index
from editcore.patches.repairing import finish, settle
from editcore.patches.shards import INDEX, SINGLE
from editcore.patches.splice import Replacement, splice
from editcore.patches.stack import FOLDER, Stack, StackedTarget, original_index_path, original_path, patch_path
from editcore.patches.stored import stored_patch
from editcore_hooks import EditcoreError


def execute(plan: Plan) -> Stack:
    """Make the change that `plan` describes; the lock is held. On an error the folder is settled, then it is raised."""
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
    try:
        durable.make_folder(folder / FOLDER)
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


def _keep(plan: Plan) -> None:
    """Store the new patches, and the originals of what is touched for the first time."""
    opened = plan.checkpoint
    folder = opened.folder
    for name in ("patches", "originals"):
        durable.make_folder(folder / FOLDER / name)
    for patch in plan.added:
        durable.write_atomically(patch_path(folder, patch.patch_id), patch.chunks())
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
            for delta in (added.get(patch_id) or stored_patch(opened, patch_id)).deltas(names[patch_id])
        ]
        entry = opened.entries[key]
        return rebuild_bytes(base, entry.dtype, entry.shape, deltas, key)

    return produce


def _stack_after(plan: Plan, results: dict[str, str]) -> Stack:
    opened, before = plan.checkpoint, plan.checkpoint.stack
    base = {
        "name": before.base.get("name") or _base_name(plan),
        "weights_root": before.base.get("weights_root") or _base_root(plan),
    }
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
    return Stack(base, plan.patches, targets, _untouched(plan)) if plan.patches else Stack()


def _base_name(plan: Plan) -> str | None:
    names = [patch.annotation("base").get("name") for patch in plan.added]
    return next((name for name in names if isinstance(name, str)), None)


def _untouched(plan: Plan) -> dict[str, str]:
    """The hashes of tensors that no patch touches: as far as they are known, nothing is read for them."""
    opened, before = plan.checkpoint, plan.checkpoint.stack
    known = {**before.untouched, **{key: target.base_sha256 for key, target in before.targets.items()}}
    for key in opened.entries:
        if key not in known and (found := opened.hashes.known(opened.file(key), key)):
            known[key] = found
    return {key: sha256 for key, sha256 in sorted(known.items()) if key not in plan.touched}


def _base_root(plan: Plan) -> str | None:
    """The root, where the plan computed it; a verdict on the targets alone is no reason to hash a whole model."""
    exact = any(verdict.kind == "exact" for verdict in plan.verdicts.values())
    return plan.checkpoint.weights_root() if exact else None
