"""Patches on folders: announced one by one by the hook that observers see, then written in one commit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from editcore.patches.change import copying
from editcore.patches.change.ondisk import AppliedOnDisk, change_on_disk
from editcore.patches.change.plan import plan_change
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.file.patch import Patch
from editcore.plugins.calls import run_apply_patch, stage_manager
from editcore.plugins.registry import Registry, registry
from editcore_hooks import Applied, hookimpl


class _Announce:
    """Lets observers see, or stop, each patch before all of them are written in one pass."""

    @hookimpl
    def editcore_apply_patch(self, target: Any, patch: Patch) -> Applied | None:
        if not isinstance(target, Checkpoint):
            return None
        return Applied((*(one.patch_id for one in target.expected), patch.patch_id))


def announce(
    checkpoint: Checkpoint,
    patches: Sequence[Patch],
    plugins: Registry | None = None,
    without: Sequence[str] = (),
) -> None:
    """Call `editcore_apply_patch` for each patch, with a checkpoint that names what it would lie on; write nothing.

    Raises what an observer raises.
    """
    manager = stage_manager(plugins or registry(), appliers=[_Announce()])
    staying = [header for header in checkpoint.expected if header.patch_id not in without]
    for number, patch in enumerate(patches):
        run_apply_patch(manager, checkpoint.expecting([*staying, *patches[:number]]), patch)


def apply_to_folder(
    checkpoint: Checkpoint,
    patches: Sequence[Patch],
    strict: bool = False,
    plugins: Registry | None = None,
    without: Sequence[str] = (),
) -> AppliedOnDisk:
    """Put patches on a folder in place and take `without` off, in one commit: all of it or nothing.

    Raises what observers and `change_on_disk` raise.
    """
    plan = plan_change(checkpoint, patches, without, strict=strict)  # what would be refused is not announced
    announce(checkpoint, plan.added, plugins, without)
    return change_on_disk(checkpoint, patches, without, strict)


def apply_to_copy(
    folder: Path,
    output: str,
    patches: Sequence[Patch],
    strict: bool = False,
    plugins: Registry | None = None,
    without: Sequence[str] = (),
    history: bool = True,
) -> AppliedOnDisk:
    """`apply_to_folder` on a copy of `folder`, which appears under its name once it is whole.

    Without `history` nothing in the copy tells of the patches, and none can be taken off.
    """
    checkpoint = Checkpoint.open(folder)
    plan = plan_change(checkpoint, patches, without, strict=strict)
    announce(checkpoint, plan.added, plugins, without)
    return copying.apply_to_copy(folder, output, patches, strict, without, history)[1]
