"""Patches folded into a copy of a folder, weights and other kinds together, by the hook that observers see."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from editcore.applying.announcing import announce
from editcore.applying.change import Change
from editcore.patches.change import ondisk
from editcore.patches.change.copying import require_copyable, staged_copy
from editcore.patches.file.kinds import owner_of
from editcore.patches.file.patch import Patch
from editcore.plugins.registry import Registry, registry
from editcore.text.ids import short
from editcore_hooks import PatchKind, PluginError, UsageError


def fold_to_copy(
    folder: Path, output: Path | str, patches: Sequence[Patch], plugins: Registry | None = None
) -> Mapping[str, Any]:
    """Write a checkpoint with `patches` in it that loads with plain from_pretrained; returns what each kind changed.

    It is a checkpoint of its own: no patch of the base fits it and nothing is taken back. Raises `UsageError` for a
    kind that cannot be folded, `PluginError` for one that is not installed, and what observers, `PatchKind.fold` and
    `Change.commit` raise; then there is no `output`.
    """
    chosen = plugins or registry()
    weights = [patch for patch in patches if patch.kind == "weights"]
    others = [patch for patch in patches if patch.kind != "weights"]
    by_kind: dict[str, tuple[PatchKind, list[Patch]]] = {}
    for patch in others:
        owner = owner_of(patch.core, patch.about, chosen)
        if owner is None:
            distribution = patch.annotation("method").get("distribution")
            message = f"patch {short(patch.patch_id)} is of kind {patch.payload_kind}, which is not installed"
            raise PluginError(message, hint=f"pip install {distribution}" if distribution else "install its plugin")
        if not owner.folds():
            what = f"patch {short(patch.patch_id)} is of kind {patch.payload_kind}"
            message = f"{what}: patches of this kind cannot be folded into weights"
            raise UsageError(message, hint="leave it out, and use it in memory: editcore generate DIR --patch PATCH")
        by_kind.setdefault(owner.name, (owner, []))[1].append(patch)
    change = Change.open(folder, weights)
    change.require_compatible()
    require_copyable(change.checkpoint, output)
    announce(change.checkpoint, [*change.plan.added, *others], chosen)
    changed: dict[str, Any] = {}
    with staged_copy(folder, output) as staged:
        if weights:
            ondisk.commit(change.plan, staged)
        for owner, own in by_kind.values():
            changed |= owner.fold(staged, own, tuple(chosen.architectures.classes().values()))
    return changed
