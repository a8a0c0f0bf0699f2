"""Checks of the tensors that no patch touches, of which a folder keeps no originals.

Applying reads no more than it must, so their hashes are recorded only where they were known anyway. For the others
there is the root over the whole base: in the folder where it was computed, and in patches that name their base. A root
tells that something changed and not what; the base itself tells that too.
"""

from collections.abc import Iterator, Sequence

from attrs import frozen

from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.file.patch import PatchHeader
from editcore.text.ids import short
from editcore.text.shell import quoted


@frozen
class Problem:
    """One thing that is not as it should be: in which file, at which tensor ("" for the whole file or folder), and the
    command that shows more or fixes it."""

    file: str
    tensor: str
    message: str
    hint: str = "copy the base again and apply the patches in .editcore/patches"


@frozen
class Untouched:
    """The tensors that no patch touches: those compared and those that could not be, and what differs."""

    compared: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def compare_with(base: Checkpoint, opened: Checkpoint) -> Untouched:
    """Compare every tensor with that of `base`, key by key; of touched ones the original."""
    base.hashes.forget()
    names = tuple(key for key in opened.entries if key not in opened.stack.targets)
    return Untouched(names, (), tuple(_differences(base, opened)))


def compare_with_records(opened: Checkpoint, patches: Sequence[PatchHeader]) -> Untouched:
    """Compare with the hashes that the folder recorded, then with the root that it or `patches` name."""
    names = tuple(key for key in opened.entries if key not in opened.stack.targets)
    recorded = opened.stack.untouched
    problems = [
        Problem(opened.file(key).name, key, _changed(opened, key, recorded[key], found))
        for key in names
        if key in recorded and (found := opened.sha256(key)) != recorded[key]
    ]
    left = tuple(key for key in names if key not in recorded)
    roots = _roots(opened, patches)
    if problems or not left or not roots:
        return Untouched(tuple(key for key in names if key in recorded), left, tuple(problems))
    if opened.weights_root() in roots:
        return Untouched(names)
    ours = opened.stack.base.get("weights_root") in roots
    made_for = "that were there when it was patched" if ours else f"of the base that {roots.popitem()[1]} was made for"
    message = (
        f"some of the {len(left)} tensors of {opened.folder} that no patch touches differ from those {made_for}"
        f"{'' if ours else ': a tensor was changed, or the patch was put on another base'}"
    )
    hint = f"find file and tensor with `editcore verify {quoted(opened.folder)} --base BASE`"
    return Untouched(names, (), (Problem("", "", message, hint),))


def _roots(opened: Checkpoint, patches: Sequence[PatchHeader]) -> dict[str, str]:
    """Roots of the base, each with who says so; what the folder recorded itself counts alone."""
    if isinstance(own := opened.stack.base.get("weights_root"), str):
        return {own: ""}
    said = [(patch.annotation("base").get("weights_root"), f"patch {short(patch.patch_id)}") for patch in patches]
    return {root: who for root, who in said if isinstance(root, str)}


def _differences(base: Checkpoint, opened: Checkpoint) -> Iterator[Problem]:
    hint = "copy that tensor's file from the base again, or name the base that the patches were put on"
    for key in sorted(base.entries.keys() ^ opened.entries.keys()):
        where, other = (opened, base) if key in opened.entries else (base, opened)
        yield Problem(where.file(key).name, key, f"{key} in {where.file(key)} is not in {other.folder}", hint)
    for key in opened.entries:
        if key in base.entries and (expected := base.base_sha256(key)) != (found := opened.base_sha256(key)):
            path = opened.file(key)
            if key in opened.stack.targets:
                message = f"{key} in {path} was patched from another tensor than that of {base.folder}"
            else:
                message = _changed(opened, key, expected, found)
            yield Problem(path.name, key, message, hint)


def _changed(opened: Checkpoint, key: str, expected: str, found: str) -> str:
    return (
        f"{key} in {opened.file(key)} was changed, and no patch touches it: expected sha256 {expected}, found {found}"
    )
