"""Making a planned change: new files, journal, the one rename, and clearing up."""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

import attrs

from editcore.patches.change.plan import Plan
from editcore.patches.change.repairing import finish, record_access, settle
from editcore.patches.change.rewrites import new_index
from editcore.patches.change.splice import Replacement, splice
from editcore.patches.checkpoint.fingerprint import file_sha256
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.journal import Journal, read_journal, staged_name, write_journal
from editcore.patches.checkpoint.shards import INDEX, SINGLE
from editcore.patches.checkpoint.stack import (
    FOLDER,
    Stack,
    StackedTarget,
    original_index_path,
    original_path,
    patch_path,
)
from editcore.storage import durable
from editcore.text.ids import under
from editcore_hooks import ConflictError, EditcoreError


def execute(plan: Plan) -> Stack:
    """Make the change that `plan` describes; the lock is held. On an error the folder is settled, then it is raised."""
    opened = plan.checkpoint
    folder = opened.folder
    final = SINGLE if opened.shards.index is None else INDEX
    renamed = [rewrite for rewrite in plan.rewrites if rewrite.source != rewrite.destination]
    journal = Journal(
        "prepare",
        staged_name(final),
        final,
        opened.stack,
        old_files=tuple(rewrite.source for rewrite in renamed),
        new_files=tuple(rewrite.destination for rewrite in renamed),
    )
    try:
        access = record_access(folder, opened.shards.files.values())
        durable.make_folder(folder / FOLDER, durable.Access.of(folder))
        write_journal(folder, journal, access)
        _keep(plan, access)
        results = _write_weights(plan, folder / journal.staged)
        journal = attrs.evolve(journal, phase="commit", new=_stack_after(plan, results))
        durable.sync_folder(folder)
        write_journal(folder, journal)
        durable.replace(folder / journal.staged, folder / journal.final)
        finish(folder, journal)
    except BaseException:
        _settle_quietly(folder)
        raise
    return journal.new


def _settle_quietly(folder: Path) -> None:
    # The first error is the one to report; whatever this cannot clear stays in the journal for `repair`.
    with contextlib.suppress(EditcoreError, OSError):
        journal = read_journal(folder)
        if journal is not None:
            settle(folder, journal)
        else:
            durable.remove(folder / FOLDER)


def _keep(plan: Plan, access: durable.Access) -> None:
    """Store the new patches, and the originals of what is touched for the first time."""
    opened = plan.checkpoint
    folder = opened.folder
    for name in ("patches", "originals"):
        durable.make_folder(folder / FOLDER / name, durable.Access.of(folder))
    for patch in plan.added:
        durable.write_atomically(patch_path(folder, patch.patch_id), patch.chunks(), access)
    for key in plan.changed:
        if key not in opened.stack.targets:
            _keep_original(opened, key)
    if opened.shards.index is not None and not opened.patch_ids:
        index = folder / INDEX
        durable.write_atomically(original_index_path(folder), [index.read_bytes()], durable.Access.of(index))


def _keep_original(opened: Checkpoint, key: str) -> None:
    """Store the bytes of a tensor under their hash. Raises `ConflictError` when they are not those that were judged."""
    expected, data = opened.sha256(key), opened.read(key)
    if hashlib.sha256(data).hexdigest() != expected:
        raise ConflictError(f"{key} in {opened.file(key)} was changed while it was being patched", hint="try again")
    path = original_path(opened.folder, expected)
    if not (path.is_file() and file_sha256(path) == expected):
        durable.write_atomically(path, [data], durable.Access.of(opened.file(key)))


def _write_weights(plan: Plan, staged: Path) -> dict[str, str]:
    """Write the new shards under their names and `staged`, the file that the commit renames; return result hashes."""
    opened = plan.checkpoint
    results: dict[str, str] = {}
    for rewrite in plan.rewrites:
        destination = staged if opened.shards.index is None else opened.folder / rewrite.destination
        replacements = {key: Replacement(opened.entries[key], _producer(plan, key)) for key in rewrite.keys}
        results |= splice(opened.folder / rewrite.source, destination, replacements)
    if opened.shards.index is not None:
        durable.write_new(staged, [new_index(plan)], durable.Access.of(opened.folder / INDEX))
    return results


def _producer(plan: Plan, key: str) -> Callable[[], bytes]:
    def produce() -> bytes:
        opened = plan.checkpoint
        # A tensor that is touched for the first time is read from where it was kept, so that both are the same bytes.
        base = opened.read_original(key, opened.base_sha256(key))
        if not plan.touched.get(key):
            return base
        from editcore.patches.arithmetic.rebuilding import rebuild_bytes

        entry = opened.entries[key]
        return rebuild_bytes(base, entry.dtype, entry.shape, plan.deltas(key), under(key, plan.touched[key]))

    return produce


def _stack_after(plan: Plan, results: dict[str, str]) -> Stack:
    opened, before = plan.checkpoint, plan.checkpoint.stack
    base = {
        "name": before.base.get("name") or _base_name(plan),
        "weights_root": _base_root(plan) or before.base.get("weights_root"),
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
    """The hashes of tensors that no patch touches: as far as they are known, nothing is read for them.

    Those that the folder recorded are kept, unless the whole base was hashed for this change.
    """
    opened, before = plan.checkpoint, plan.checkpoint.stack
    recorded = {} if _is_exact(plan) else before.untouched
    known = {**recorded, **{key: target.base_sha256 for key, target in before.targets.items()}}
    for key in opened.entries:
        if key not in known and (found := opened.hashes.known(opened.file(key), key)):
            known[key] = found
    return {key: sha256 for key, sha256 in sorted(known.items()) if key not in plan.touched}


def _base_root(plan: Plan) -> str | None:
    """The root, where the plan computed it; a verdict on the targets alone is no reason to hash a whole model."""
    return plan.checkpoint.weights_root() if _is_exact(plan) else None


def _is_exact(plan: Plan) -> bool:
    return any(verdict.kind == "exact" for verdict in plan.verdicts.values())
