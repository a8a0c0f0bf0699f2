"""The patches that a folder keeps of its own stack."""

from editcore.patches.checkpoint import Checkpoint
from editcore.patches.patch import Patch, PatchHeader
from editcore.patches.stack import patch_path
from editcore_hooks import RefusedFileError


def stored_patch(opened: Checkpoint, patch_id: str) -> PatchHeader:
    """A patch of the stack, its tensors unread.

    Raises `RefusedFileError` when its file is missing or another, `ConflictError` when a writer took it away meanwhile.
    """
    with opened.unchanged():
        header = Patch.read_header(patch_path(opened.folder, patch_id))
    if header.patch_id != patch_id:
        raise RefusedFileError(
            f"{header.path} holds patch {header.patch_id[:12]} instead",
            hint="put the patch of that name back in its place",
        )
    return header


def stored_whole(opened: Checkpoint, patch_id: str) -> Patch:
    """A patch of the stack with its tensors. Raises as `stored_patch`."""
    header = stored_patch(opened, patch_id)
    with opened.unchanged():
        return Patch.load(header.path)
