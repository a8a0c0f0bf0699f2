"""Patches, and folders that they are put on."""

from editcore.patches.change.copying import copy_checkpoint
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.resolving import require_base
from editcore.patches.file.patch import Patch, PatchHeader
from editcore.patches.file.units import Units, units_payload

__all__ = [
    "Checkpoint",
    "Patch",
    "PatchHeader",
    "Units",
    "apply_on_disk",
    "copy_checkpoint",
    "require_base",
    "revert_on_disk",
    "units_payload",
]
