"""Units folded into a copy of a folder, together with weight patches, by the hook that observers see."""

from collections.abc import Sequence
from pathlib import Path

from editcore.applying.announcing import announce
from editcore.applying.change import Change
from editcore.patches.change import ondisk
from editcore.patches.change.copying import require_copyable, staged_copy
from editcore.patches.change.folding import Folded, fold
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.file.patch import Patch
from editcore.patches.forms.units import is_units
from editcore.plugins.registry import Registry, registry


def fold_to_copy(folder: Path, output: Path | str, patches: Sequence[Patch], plugins: Registry | None = None) -> Folded:
    """Write a checkpoint with `patches` in it, units among them, that loads with plain from_pretrained.

    It is a checkpoint of its own: its MLPs are wider, so no patch of the base fits it and nothing is taken back. Raises
    what observers, `fold` and `Change.commit` raise, and then there is no `output`.
    """
    chosen = plugins or registry()
    weights = [patch for patch in patches if not is_units(patch)]
    units = [patch for patch in patches if is_units(patch)]
    change = Change.open(folder, weights)
    change.require_compatible()
    require_copyable(change.checkpoint, output)
    announce(change.checkpoint, [*change.plan.added, *units], chosen)
    with staged_copy(folder, output) as staged:
        if weights:
            ondisk.commit(change.plan, staged)
        return fold(Checkpoint.open(staged), units, tuple(chosen.architectures.classes().values()))
