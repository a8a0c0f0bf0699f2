"""Forms that exclude every other patch on their tensor: they say what the bits become, not what is added."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from editcore.patches.checkpoint import Checkpoint
from editcore.patches.forms import EXCLUSIVE
from editcore.patches.patch import Patch
from editcore.patches.stored import stored_patch
from editcore_hooks import ConflictError


def require_alone(key: str, forms: Mapping[str, str]) -> None:
    """Check the forms that patches (by id) have on one tensor. Raises `ConflictError` when one of them excludes others.

    Without this the arithmetic would have to put one before the other, and taking either out would change the rest.
    """
    exclusive = sorted(patch_id for patch_id, form in forms.items() if form in EXCLUSIVE)
    if exclusive and len(forms) > 1:
        others = ", ".join(sorted(patch_id[:12] for patch_id in forms if patch_id != exclusive[0]))
        raise ConflictError(
            f"patch {exclusive[0][:12]} replaces the bits of {key} and excludes {others} there",
            hint="apply one of them; `editcore extract` without --exact and --form writes deltas that add up",
        )


def refuse_shared(checkpoint: Checkpoint, added: Sequence[Patch], touched: Mapping[str, Mapping[str, str]]) -> None:
    """`require_alone` for every tensor that `added` patches would share; `touched` is the state after them."""
    new = {patch.patch_id: patch for patch in added}
    for key, names in touched.items():
        if len(names) > 1 and not new.keys().isdisjoint(names):
            require_alone(key, {patch_id: _form(checkpoint, new, patch_id, name) for patch_id, name in names.items()})


def clashes(
    checkpoint: Checkpoint, added: Sequence[Patch], touched: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, str, str]]:
    """What `refuse_shared` refuses: key, earlier and later id of each pair, one of it added, that cannot share."""
    new = {patch.patch_id: patch for patch in added}
    order = [*checkpoint.patch_ids, *new]
    found = []
    for key, names in touched.items():
        if len(names) > 1 and not new.keys().isdisjoint(names):
            forms = {patch_id: _form(checkpoint, new, patch_id, name) for patch_id, name in names.items()}
            for pair in combinations(sorted(names, key=order.index), 2):
                if not new.keys().isdisjoint(pair) and any(forms[patch_id] in EXCLUSIVE for patch_id in pair):
                    found.append((key, *pair))
    return found


def _form(checkpoint: Checkpoint, new: Mapping[str, Patch], patch_id: str, name: str) -> str:
    patch = new.get(patch_id) or stored_patch(checkpoint, patch_id)
    return str(patch.targets[name]["form"])
