"""Patching a folder in place: journal, new files, one rename. A kill leaves the old state or the new one."""

from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen

from editcore.patches import durable, lock
from editcore.patches.checkpoint import Checkpoint
from editcore.patches.dependents import computed_elsewhere, refuse_required
from editcore.patches.execution import execute
from editcore.patches.journal import journal_path, refuse_repairable
from editcore.patches.patch import Patch
from editcore.patches.plan import Plan, plan_apply, plan_revert
from editcore.patches.stack import Stack, read_stack_file, refuse_links
from editcore_hooks import Applied, EditcoreError, RefusedFileError


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
        refuse_required(opened, gone)
        return plan_revert(opened, sorted(gone), computed_elsewhere(opened, gone))

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
