"""What a patch's leaving means for those that stay: which cannot stay without it, and which were computed on it."""

from collections.abc import Collection, Mapping, Sequence

from editcore.patches.checkpoint import Checkpoint
from editcore.patches.patch import PatchHeader
from editcore.patches.stack import stack_hash
from editcore.patches.stored import stored_patch
from editcore_hooks import ConflictError


def dependents(checkpoint: Checkpoint, ids: Collection[str]) -> tuple[str, ...]:
    """The patches of the folder that require one of `ids`, or one that does, in the order of the stack.

    Raises `RefusedFileError` when a stored patch is missing or damaged.
    """
    requires = {patch_id: set(stored_patch(checkpoint, patch_id).requires) for patch_id in checkpoint.patch_ids}
    found = set(ids)
    while more := {patch_id for patch_id, needed in requires.items() if needed & found} - found:
        found |= more
    return tuple(patch_id for patch_id in checkpoint.patch_ids if patch_id in found - set(ids))


def refuse_required(checkpoint: Checkpoint, gone: Collection[str]) -> None:
    """Raise `ConflictError` naming every patch that stays and, directly or through another, requires one of `gone`."""
    if staying := dependents(checkpoint, gone):
        names = ", ".join(named(stored_patch(checkpoint, patch_id)) for patch_id in staying)
        asked = " ".join(patch_id[:12] for patch_id in checkpoint.patch_ids if patch_id in gone)
        raise ConflictError(
            f"{'patch' if len(staying) == 1 else 'patches'} {names} "
            f"{'requires' if len(staying) == 1 else 'require'} what would go",
            hint=f"editcore revert {asked} --model {checkpoint.folder} --with-dependents takes them off as well",
        )


def computed_elsewhere(checkpoint: Checkpoint, gone: Collection[str]) -> tuple[str, ...]:
    """A line for each patch that stays and was computed on the model with one of `gone`: its figures no longer hold."""
    before = checkpoint.patch_ids
    titles: Mapping[str, str] = {patch["id"]: patch["title"] for patch in checkpoint.stack.patches}
    notices = []
    for position, patch_id in enumerate(before):
        earlier = before[:position]
        without = [other for other in earlier if other in gone]
        if patch_id in gone or not without:
            continue
        if stored_patch(checkpoint, patch_id).about.get("computed_on") == stack_hash(earlier):
            notices.append(
                f"patch {_name(patch_id, titles)} was computed on the model with {_names(without, titles)}: "
                f"measure it again with `editcore blame {checkpoint.folder}`"
            )
    return tuple(notices)


def named(patch: PatchHeader) -> str:
    """The beginning of an id and the title, as people are told of a patch."""
    return _name(patch.patch_id, {patch.patch_id: patch.title})


def _name(patch_id: str, titles: Mapping[str, str]) -> str:
    title = titles.get(patch_id)
    return f"{patch_id[:12]} ({title})" if title else patch_id[:12]


def _names(ids: Sequence[str], titles: Mapping[str, str]) -> str:
    return ", ".join(_name(patch_id, titles) for patch_id in ids)
