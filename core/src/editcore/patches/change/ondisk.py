"""Patching a folder in place: journal, new files, one rename. A kill leaves the old state or the new one.

Nobody is told of the patches here. Commands go through `applying.change`, which announces them first.
"""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from attrs import frozen

from editcore.patches.change.dependents import computed_elsewhere, computed_on_others
from editcore.patches.change.execution import execute
from editcore.patches.change.plan import Plan, plan_change
from editcore.patches.change.second_reading import planned_on
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.journal import journal_path, refuse_repairable
from editcore.patches.checkpoint.stack import Stack, read_stack_file, refuse_links
from editcore.patches.file.patch import Patch
from editcore.storage import durable, lock
from editcore.text.ids import short
from editcore.text.shell import quoted
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
) -> AppliedOnDisk:
    """Put patches on and take others (ids, or their beginnings) off, in one commit: a touched shard is written once.

    Raises what `plan_change` raises and `UsageError` for an id that is not there; then nothing on disk has changed.
    """
    folder = checkpoint.folder if isinstance(checkpoint, Checkpoint) else Path(checkpoint)
    with _writing(folder) as opened:
        if isinstance(checkpoint, Checkpoint):
            opened.hashes.adopt(checkpoint.hashes)
        gone = {opened.stack.find(prefix) for prefix in removed}
        return _carry_out(plan_change(opened, added, gone, strict=strict))


def commit(plan: Plan, copy: Path | None = None) -> AppliedOnDisk:
    """Carry out a plan, after a second reading of the folder under the lock.

    `copy` is a copy of the folder to change in its place; weight files that the plan rewrites may be links there.
    Raises as `change_on_disk`.
    """
    borrowed = {rewrite.source for rewrite in plan.rewrites} if copy is not None else set()
    with _writing(copy or plan.checkpoint.folder, borrowed) as opened:
        return _carry_out(planned_on(opened, plan))


def refuse_foreign(opened: Checkpoint, borrowed: Collection[str] = ()) -> None:
    """Raise `RefusedFileError` for a folder whose files other programs share; `borrowed` are links that will go."""
    folder = opened.folder
    if opened.in_hub_cache:
        raise RefusedFileError(
            f"{folder} belongs to a download cache, which other programs share",
            hint="write a patched copy with `editcore apply PATCH --model DIR -o OUT`",
        )
    if linked := sorted(opened.linked - set(borrowed)):
        raise RefusedFileError(
            f"{linked[0]} of {folder} is a link to {(folder / linked[0]).readlink()}, which others may use",
            hint=f"copy what its links lead to with `cp -rL {folder} NEW`, and patch NEW",
        )


@contextlib.contextmanager
def _writing(folder: Path, borrowed: Collection[str] = ()) -> Iterator[Checkpoint]:
    """Hold the lock and open the folder again: what the caller read may be older than the lock."""
    with lock.writing(folder):
        refuse_links(folder)
        refuse_repairable(folder)
        opened = Checkpoint.open(folder)
        refuse_foreign(opened, borrowed)
        yield opened


def _carry_out(plan: Plan) -> AppliedOnDisk:
    opened = plan.checkpoint
    said = (*computed_elsewhere(opened, plan.removed), *computed_on_others(opened, plan.added, plan.removed))
    notices = tuple(dict.fromkeys((*said, *plan.notices)))
    if not plan.changed:
        return AppliedOnDisk(opened.patch_ids, {}, opened.stack.hash, notices)
    try:
        stack = execute(plan)
    except OSError as error:
        hint = _next_step(plan, durable.remedy(error))
        raise EditcoreError(f"cannot write in {opened.folder}: {error.strerror}", hint=hint) from error
    results = {key: target.result_sha256 for key, target in stack.targets.items()}
    return AppliedOnDisk(stack.patch_ids, results, stack.hash, (*notices, *_other_bits(plan, stack)))


def _next_step(plan: Plan, remedy: str) -> str:
    folder = plan.checkpoint.folder
    if journal_path(folder).exists():
        return f"{remedy}, then run `editcore repair {quoted(folder)}`"
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
                notices.append(f"{key} came out with other bits than patch {short(patch.patch_id)} recorded elsewhere")
    return tuple(notices)
