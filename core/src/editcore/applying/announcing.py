"""Telling observers of patches, one by one, before all of them are written in one pass."""

from collections.abc import Collection, Sequence
from typing import Any

from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.file.patch import Patch
from editcore.plugins.calls import run_apply_patch, stage_manager
from editcore.plugins.registry import Registry, registry
from editcore_hooks import Applied, hookimpl


def announce(
    checkpoint: Checkpoint,
    patches: Sequence[Patch],
    plugins: Registry | None = None,
    removed: Collection[str] = (),
) -> None:
    """Call `editcore_apply_patch` for each patch, with a checkpoint that names what it would lie on; write nothing.

    Raises what an observer raises.
    """
    if not patches:
        return
    manager = stage_manager(plugins or registry(), appliers=[_Announce()])
    staying = [header for header in checkpoint.expected if header.patch_id not in removed]
    for number, patch in enumerate(patches):
        run_apply_patch(manager, checkpoint.expecting([*staying, *patches[:number]]), patch)


class _Announce:
    """The host's own applier for a folder, which only says what the folder will carry."""

    @hookimpl
    def editcore_apply_patch(self, target: Any, patch: Patch) -> Applied | None:
        if not isinstance(target, Checkpoint):
            return None
        return Applied((*(one.patch_id for one in target.expected), patch.patch_id))
