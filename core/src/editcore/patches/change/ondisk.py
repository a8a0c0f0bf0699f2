"""Patching a folder in place: journal, new files, one rename. A kill leaves the old state or the new one."""

from collections.abc import Collection, Sequence
from pathlib import Path

from attrs import frozen

from editcore.patches.change.dependents import computed_elsewhere, computed_on_others, refuse_required, required_first
from editcore.patches.change.execution import execute
from editcore.patches.change.plan import Plan, plan_change
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.journal import journal_path, refuse_repairable
from editcore.patches.checkpoint.stack import Stack, read_stack_file, refuse_links
from editcore.patches.file.patch import Patch
from editcore.storage import durable, lock
from editcore_hooks import Applied, EditcoreError, RefusedFileError


@frozen
class AppliedOnDisk(Applied):
    """The content of a folder after a change; `notices` are lines for the user."""

    stack_hash: str = ""
    notices: tuple[str, ...] = ()


def apply_on_disk(checkpoint: Checkpoint | Path | str, patches: Sequence[Patch], strict: bool = False) -> AppliedOnDisk:
    """Put patches on a folder, in place; `strict` asks for the whole base, not just the tensors that are touched.

    Raises what `plan_change` and `Checkpoint.open` raise, and then nothing on disk has changed.
    """
    return change_on_disk(checkpoint, patches, strict=strict)


def revert_on_disk(checkpoint: Checkpoint | Path | str, ids: Sequence[str]) -> AppliedOnDisk:
    """Take patches off a folder, in any order, by rebuilding from the originals without them.

    With the last one gone every file is as it was, byte for byte. Raises as `change_on_disk`.
    """
    return change_on_disk(checkpoint, removed=ids)


def change_on_disk(
    checkpoint: Checkpoint | Path | str,
    added: Sequence[Patch] = (),
    removed: Sequence[str] = (),
    strict: bool = False,
    borrowed: Collection[str] = (),
) -> AppliedOnDisk:
    """Put patches on and take others (ids, or their beginnings) off, in one commit: a touched shard is written once.

    `borrowed` are weight files that are links into another folder because this change replaces them. Raises what
    `plan_change` raises, `UsageError` for an id that is not there, and `ConflictError` when a patch that stays requires
    one that goes; then nothing on disk has changed.
    """
    folder = checkpoint.folder if isinstance(checkpoint, Checkpoint) else Path(checkpoint)
    with lock.writing(folder):
        refuse_links(folder)
        refuse_repairable(folder)
        # Opened again: what the caller read may be older than the lock.
        opened = Checkpoint.open(folder)
        if isinstance(checkpoint, Checkpoint):
            opened.hashes.adopt(checkpoint.hashes)
        if opened.in_hub_cache or opened.linked - set(borrowed):
            raise RefusedFileError(
                f"{folder} belongs to a download cache, which other programs share",
                hint="write a patched copy with `editcore apply PATCH --model DIR -o OUT`"
                if opened.in_hub_cache
                else f"copy what its links lead to with `cp -rL {folder} NEW`, and patch NEW",
            )
        gone = {opened.stack.find(prefix) for prefix in removed}
        refuse_required(opened, gone)
        said = (*computed_elsewhere(opened, gone), *computed_on_others(opened, required_first(added), gone))
        plan = plan_change(opened, added, gone, strict=strict, notices=said)
        if not plan.changed:
            return AppliedOnDisk(opened.patch_ids, {}, opened.stack.hash, plan.notices)
        try:
            stack = execute(plan)
        except OSError as error:
            hint = _next_step(plan, durable.remedy(error))
            raise EditcoreError(f"cannot write in {folder}: {error.strerror}", hint=hint) from error
        results = {key: target.result_sha256 for key, target in stack.targets.items()}
        return AppliedOnDisk(stack.patch_ids, results, stack.hash, (*plan.notices, *_other_bits(plan, stack)))


def _next_step(plan: Plan, remedy: str) -> str:
    folder = plan.checkpoint.folder
    if journal_path(folder).exists():
        return f"{remedy}, then run `editcore repair {folder}`"
    if read_stack_file(folder).patch_ids != plan.checkpoint.patch_ids:
        return "the change itself is complete"
    return f"nothing has changed; {remedy} and try again"


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
