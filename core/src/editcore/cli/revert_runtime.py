"""`editcore revert` of patches beside the weights: it says first what each of them takes back."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from editcore.cli.output import Output
from editcore.text.ids import short

if TYPE_CHECKING:
    from editcore.patches.checkpoint.folder import Checkpoint


def revert_runtime(out: Output, checkpoint: "Checkpoint", ids: Sequence[str], keep: str | None) -> tuple[str, ...]:
    """Take patches off; return the ids of those that stay."""
    from editcore.patches.change.dependents import computed_elsewhere
    from editcore.patches.change.runtime import change_runtime
    from editcore.patches.checkpoint.runtime import runtime_patches
    from editcore.patches.file.kinds import as_patch, owner_of
    from editcore_hooks import PatchKind

    for patch in runtime_patches(checkpoint):
        if patch.patch_id not in ids:
            continue
        owner = owner_of(patch.core, patch.about) or PatchKind()
        out.say(f"{short(patch.patch_id)}: {owner.taken_back(as_patch(patch))}")
        if keep is not None:
            Path(keep).mkdir(parents=True, exist_ok=True)
            patch.save(Path(keep) / f"{short(patch.patch_id)}.safetensors")
    for notice in computed_elsewhere(checkpoint, ids):
        out.warn(notice)
    return change_runtime(checkpoint.folder, removed=ids)
