"""Patches that exclude each other: forms that say what bits become and add nothing, and a patch that exists already,
inside a squash."""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.stored import stored_patch
from editcore.patches.file.merged_annotation import contents
from editcore.patches.file.patch import Patch, PatchHeader
from editcore.patches.forms.form import Form
from editcore.text.ids import short
from editcore.text.shell import quoted
from editcore_hooks import ConflictError


def require_alone(key: str, forms: Mapping[str, Form]) -> None:
    """Check the forms that patches (by id) have on one tensor. Raises `ConflictError` when one of them excludes others.

    Without this the arithmetic would have to put one before the other, and taking either out would change the rest.
    """
    exclusive = sorted(patch_id for patch_id, form in forms.items() if form.exclusive)
    if exclusive and len(forms) > 1:
        others = ", ".join(sorted(short(patch_id) for patch_id in forms if patch_id != exclusive[0]))
        raise ConflictError(
            f"patch {short(exclusive[0])} replaces the bits of {key} and excludes {others} there",
            hint="apply one of them; `editcore extract` without --exact and --form writes deltas that add up",
        )


def refuse_shared(checkpoint: Checkpoint, added: Sequence[Patch], touched: Mapping[str, Mapping[str, str]]) -> None:
    """`require_alone` for every tensor that `added` patches would share; `touched` is the state after them."""
    new = {patch.patch_id: patch for patch in added}
    for key, names in touched.items():
        if len(names) > 1 and not new.keys().isdisjoint(names):
            require_alone(key, {patch_id: _form(checkpoint, new, patch_id, name) for patch_id, name in names.items()})


def refuse_twice(checkpoint: Checkpoint, added: Sequence[Patch], removed: Collection[str] = ()) -> None:
    """Raise `ConflictError` when a patch would count twice, alone and in a squash, or in two of them."""
    staying = [stored_patch(checkpoint, i) for i in checkpoint.patch_ids if i not in removed]
    for earlier, later in twice([*staying, *added], {patch.patch_id for patch in added}):
        first = f"editcore revert {short(earlier.patch_id)} --model {quoted(checkpoint.folder)}"
        raise ConflictError(said_twice(earlier, later), hint=f"`{first}` first, or leave one out")


def twice(
    patches: Sequence[Patch | PatchHeader], new: Collection[str]
) -> list[tuple[Patch | PatchHeader, Patch | PatchHeader]]:
    """The pairs, one of each `new`, that have a patch in common: `patches` are in the order of the stack."""
    inside = [contents(patch) for patch in patches]
    fresh = {number for number, patch in enumerate(patches) if patch.patch_id in new}
    pairs = sorted({(min(i, j), max(i, j)) for i in fresh for j in range(len(patches)) if i != j})
    return [(patches[i], patches[j]) for i, j in pairs if inside[i] & inside[j]]


def said_twice(earlier: Patch | PatchHeader, later: Patch | PatchHeader) -> str:
    shared = contents(earlier) & contents(later)
    if later.patch_id in shared:
        return f"patch {short(later.patch_id)} is applied already, in the squash {short(earlier.patch_id)}"
    if earlier.patch_id in shared:
        return f"patch {short(earlier.patch_id)} is applied already, and the squash {short(later.patch_id)} contains it"
    return f"patch {short(min(shared))} is in both squashes, {short(earlier.patch_id)} and {short(later.patch_id)}"


def clashes(
    checkpoint: Checkpoint, added: Sequence[Patch], touched: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, str, str]]:
    """Pairs for `refuse_shared`: key, earlier and later id of each pair, one of them added, that cannot share."""
    new = {patch.patch_id: patch for patch in added}
    order = [*checkpoint.patch_ids, *new]
    found = []
    for key, names in touched.items():
        if len(names) > 1 and not new.keys().isdisjoint(names):
            forms = {patch_id: _form(checkpoint, new, patch_id, name) for patch_id, name in names.items()}
            for pair in combinations(sorted(names, key=order.index), 2):
                if not new.keys().isdisjoint(pair) and any(forms[patch_id].exclusive for patch_id in pair):
                    found.append((key, *pair))
    return found


def _form(checkpoint: Checkpoint, new: Mapping[str, Patch], patch_id: str, name: str) -> Form:
    patch = new.get(patch_id) or stored_patch(checkpoint, patch_id)
    return patch.targets[name].form
