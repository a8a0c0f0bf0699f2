"""Units folded into a copy of a folder, together with weight patches, by the hook that observers see."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from editcore.editing.folders import apply_to_folder
from editcore.patches.checkpoint import Checkpoint
from editcore.patches.copying import apply_to_copy
from editcore.patches.folding import Folded, fold
from editcore.patches.ondisk import AppliedOnDisk
from editcore.patches.patch import Patch
from editcore.patches.units import is_units
from editcore.plugins.calls import run_apply_patch, stage_manager
from editcore.plugins.registry import Registry, registry
from editcore_hooks import Applied, hookimpl


class _Announce:
    """Lets observers see, or stop, each patch before all of them are folded in one pass."""

    @hookimpl
    def editcore_apply_patch(self, target: Any, patch: Patch) -> Applied | None:
        return Applied((patch.patch_id,)) if isinstance(target, Checkpoint) else None


def fold_to_copy(folder: Path, output: Path | str, patches: Sequence[Patch], plugins: Registry | None = None) -> Folded:
    """Write a checkpoint with `patches` in it, units among them, that loads with plain from_pretrained.

    It is a checkpoint of its own: its MLPs are wider, so no patch of the base fits it and nothing is taken back. Raises
    what `fold` and `apply_to_folder` raise, and then there is no `output`.
    """
    chosen = plugins or registry()
    weights = [patch for patch in patches if not is_units(patch)]
    units = [patch for patch in patches if is_units(patch)]
    done: list[Folded] = []

    def put_on(staged: Path, _: Sequence[Patch], strict: bool) -> AppliedOnDisk:
        if weights:
            apply_to_folder(Checkpoint.open(staged), weights, strict, chosen)
        opened = Checkpoint.open(staged)
        manager = stage_manager(chosen, appliers=[_Announce()])
        for patch in units:
            run_apply_patch(manager, opened, patch)
        done.append(fold(opened, units, tuple(chosen.architectures.classes().values())))
        return AppliedOnDisk(())

    apply_to_copy(folder, output, patches, put_on=put_on)
    return done[0]
