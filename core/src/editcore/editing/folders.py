"""Patches on folders, by the hook, so that observers see what is written to disk as they see what is put in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from editcore.patches.checkpoint import Checkpoint
from editcore.patches.copying import apply_to_copy as copy_and_apply
from editcore.patches.ondisk import AppliedOnDisk, apply_on_disk, revert_on_disk
from editcore.patches.patch import Patch
from editcore.patches.plan import plan_apply
from editcore.plugins.calls import run_apply_patch, stage_manager
from editcore.plugins.registry import Registry, registry
from editcore_hooks import Applied, hookimpl


class _ApplyToFolder:
    """The host's own applier for checkpoints on disk."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict

    @hookimpl
    def editcore_apply_patch(self, target: Any, patch: Patch) -> Applied | None:
        return apply_on_disk(target, [patch], self._strict) if isinstance(target, Checkpoint) else None


def apply_to_folder(
    checkpoint: Checkpoint,
    patches: Sequence[Patch],
    strict: bool = False,
    plugins: Registry | None = None,
    without: Sequence[str] = (),
) -> AppliedOnDisk:
    """Put patches on a folder in place, one commit a patch, what is required first; then take `without` off.

    In this order a kill in between loses no patch. Raises what `plan_apply` and `revert_on_disk` raise.
    """
    plan_apply(checkpoint, patches, strict)  # all or none: what would be refused half-way is refused here
    manager = stage_manager(plugins or registry(), appliers=[_ApplyToFolder(strict)])
    applied = AppliedOnDisk(checkpoint.patch_ids, {}, checkpoint.stack.hash)
    notices: list[str] = []
    for patch in _required_first(patches):
        done = run_apply_patch(manager, Checkpoint.open(checkpoint.folder), patch)
        assert isinstance(done, AppliedOnDisk)
        applied, notices = done, [*notices, *done.notices]
    if without:
        applied = revert_on_disk(checkpoint.folder, without)
        notices += applied.notices
    return AppliedOnDisk(applied.patch_ids, applied.result_sha256, applied.stack_hash, tuple(dict.fromkeys(notices)))


def _required_first(patches: Sequence[Patch]) -> list[Patch]:
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


def apply_to_copy(
    folder: Path,
    output: str,
    patches: Sequence[Patch],
    strict: bool = False,
    plugins: Registry | None = None,
    without: Sequence[str] = (),
) -> AppliedOnDisk:
    """`apply_to_folder` on a copy of `folder`, which appears under its name once it is whole."""

    def put_on(staged: Path, patches: Sequence[Patch], strict: bool) -> AppliedOnDisk:
        return apply_to_folder(Checkpoint.open(staged), patches, strict, plugins, without)

    _, applied = copy_and_apply(folder, output, patches, strict, put_on)
    assert applied is not None
    return applied
