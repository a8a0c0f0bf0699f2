"""Effect of a reverted patch on those that stay: which require it, and which were computed on it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.runtime import runtime_headers
from editcore.patches.checkpoint.stack import stack_hash
from editcore.patches.checkpoint.stored import stored_patch
from editcore.patches.file.patch import Patch, PatchHeader
from editcore.text.ids import short, titled
from editcore.text.shell import quoted
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
        asked = " ".join(short(patch_id) for patch_id in checkpoint.patch_ids if patch_id in gone)
        raise ConflictError(
            f"{'patch' if len(staying) == 1 else 'patches'} {names} "
            f"{'requires' if len(staying) == 1 else 'require'} a patch that would be reverted",
            hint=f"revert them too: editcore revert {asked} --model {quoted(checkpoint.folder)} --with-dependents",
        )


def required_first(patches: Sequence[Patch]) -> list[Patch]:
    """The order given, but for what must wait for another. Ids are hashes, so nothing requires itself in a circle."""
    by_id = {patch.patch_id: patch for patch in patches}
    ordered: dict[str, Patch] = {}

    def put(patch: Patch) -> None:
        for needed in patch.requires:
            if needed in by_id and needed not in ordered:
                put(by_id[needed])
        ordered.setdefault(patch.patch_id, patch)

    for patch in patches:
        put(patch)
    return list(ordered.values())


def computed_elsewhere(checkpoint: Checkpoint, gone: Collection[str]) -> tuple[str, ...]:
    """A line for each patch that stays and was computed on the model with one of `gone`: its figures no longer hold.

    That is what a revert leaves behind: such a patch stays fitted to what is taken off.
    """
    beside = {header.patch_id: header for header in runtime_headers(checkpoint)}
    before = (*checkpoint.patch_ids, *beside)
    titles = {patch["id"]: str(patch["title"]) for patch in checkpoint.stack.patches}
    titles |= {patch_id: header.title for patch_id, header in beside.items()}
    notices = []
    for position, patch_id in enumerate(before):
        if patch_id in gone:
            continue
        about = (beside.get(patch_id) or stored_patch(checkpoint, patch_id)).about
        on = _ids_under(about, before[:position])
        if without := [other for other in before if other in gone and other in on]:
            notices.append(
                f"patch {_names([patch_id], titles)} was computed on the model with {_names(without, titles)}: "
                f"{_measure(checkpoint)}"
            )
    return tuple(notices)


def computed_on_others(checkpoint: Checkpoint, added: Sequence[Patch], gone: Collection[str]) -> tuple[str, ...]:
    """A line for each patch to be put on that was computed on other patches than those it would lie on.

    Those computed on the bare base pass: each was measured alone, and a stack of such patches is the usual one.
    """
    present = [patch_id for patch_id in checkpoint.patch_ids if patch_id not in gone]
    notices = []
    for patch in added:
        on = patch.about.get("computed_on")
        if isinstance(on, str) and on != stack_hash(present):
            ids = patch.about.get("computed_on_patches")
            what = ", ".join(short(str(each)) for each in ids) if isinstance(ids, list) else f"the stack {short(on)}"
            notices.append(
                f"patch {named(patch)} was computed on the model with {what}, "
                f"and not with {', '.join(short(each) for each in present) or 'no patch'}: {_measure(checkpoint)}"
            )
        present.append(patch.patch_id)
    return tuple(notices)


def _ids_under(about: Mapping[str, Any], earlier: Sequence[str]) -> Collection[str]:
    """The patches on which one was computed; of files that do not list them, those that give the hash they have."""
    ids = about.get("computed_on_patches")
    if isinstance(ids, list):
        return [each for each in ids if isinstance(each, str)]
    return earlier if about.get("computed_on") == stack_hash(earlier) else ()


def _measure(checkpoint: Checkpoint) -> str:
    return f"measure it again with `editcore eval {quoted(checkpoint.folder)} --cases FILE`"


def named(patch: Patch | PatchHeader) -> str:
    """The beginning of an id and the title, as people are told of a patch."""
    return titled(patch.patch_id, patch.title)


def _names(ids: Sequence[str], titles: Mapping[str, str]) -> str:
    return ", ".join(titled(patch_id, titles.get(patch_id, "")) for patch_id in ids)
