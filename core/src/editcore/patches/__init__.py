"""The patch file and what can be done with it. Imports no torch: names load when they are used."""

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "arithmetic": ("Survival", "rebuild", "rebuild_bytes", "result_sha256", "surviving"),
    "checkpoint": ("Checkpoint",),
    "copying": ("apply_to_copy", "copy_checkpoint"),
    "deltas": ("Delta", "StoredUpdate", "to_stored"),
    "extraction": ("Extracted", "extract"),
    "identity": ("base_identity",),
    "ondisk": ("AppliedOnDisk", "apply_on_disk", "change_on_disk", "revert_on_disk"),
    "patch": ("Patch", "PatchHeader"),
    "plan": ("Plan", "plan_apply", "plan_change"),
    "repairing": ("Repaired", "current_stack", "repair"),
    "resolving": ("Verdict", "judge", "require_base", "resolve"),
    "sealing": ("Target", "seal"),
    "squashing": ("Squashed", "squash"),
    "stack": ("Stack", "stack_hash"),
    "untouched": ("Problem", "Untouched"),
    "verification": ("Verification", "verify", "verify_folder", "verify_patch"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AppliedOnDisk",
    "Checkpoint",
    "Delta",
    "Extracted",
    "Patch",
    "PatchHeader",
    "Plan",
    "Problem",
    "Repaired",
    "Squashed",
    "Stack",
    "StoredUpdate",
    "Survival",
    "Target",
    "Untouched",
    "Verdict",
    "Verification",
    "apply_on_disk",
    "apply_to_copy",
    "base_identity",
    "change_on_disk",
    "copy_checkpoint",
    "current_stack",
    "extract",
    "judge",
    "plan_apply",
    "plan_change",
    "rebuild",
    "rebuild_bytes",
    "repair",
    "require_base",
    "resolve",
    "result_sha256",
    "revert_on_disk",
    "seal",
    "squash",
    "stack_hash",
    "surviving",
    "to_stored",
    "verify",
    "verify_folder",
    "verify_patch",
]

if TYPE_CHECKING:
    from editcore.patches.arithmetic import Survival, rebuild, rebuild_bytes, result_sha256, surviving
    from editcore.patches.checkpoint import Checkpoint
    from editcore.patches.copying import apply_to_copy, copy_checkpoint
    from editcore.patches.deltas import Delta, StoredUpdate, to_stored
    from editcore.patches.extraction import Extracted, extract
    from editcore.patches.identity import base_identity
    from editcore.patches.ondisk import AppliedOnDisk, apply_on_disk, change_on_disk, revert_on_disk
    from editcore.patches.patch import Patch, PatchHeader
    from editcore.patches.plan import Plan, plan_apply, plan_change
    from editcore.patches.repairing import Repaired, current_stack, repair
    from editcore.patches.resolving import Verdict, judge, require_base, resolve
    from editcore.patches.sealing import Target, seal
    from editcore.patches.squashing import Squashed, squash
    from editcore.patches.stack import Stack, stack_hash
    from editcore.patches.untouched import Problem, Untouched
    from editcore.patches.verification import Verification, verify, verify_folder, verify_patch


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
