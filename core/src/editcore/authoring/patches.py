"""Patches, and folders that they are put on."""

from editcore.patches.checkpoint import Checkpoint
from editcore.patches.copying import copy_checkpoint
from editcore.patches.ondisk import apply_on_disk, revert_on_disk
from editcore.patches.patch import Patch, PatchHeader
from editcore.patches.resolving import require_base
from editcore.patches.units import Units, units_payload

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
