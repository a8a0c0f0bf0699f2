"""The patches that a folder keeps of its own stack."""

from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.stack import STACK_FILE, Stack, patch_path
from editcore.patches.file.patch import Patch, PatchHeader
from editcore.text.ids import short
from editcore_hooks import RefusedFileError


def stored_patch(opened: Checkpoint, patch_id: str) -> PatchHeader:
    """A patch of the stack, its tensors unread.

    Raises `RefusedFileError` when its file is missing or another, `ConflictError` when a writer took it away meanwhile.
    """
    with opened.unchanged():
        header = Patch.read_header(patch_path(opened.folder, patch_id))
    if header.patch_id != patch_id:
        raise RefusedFileError(
            f"{header.path} holds patch {short(header.patch_id)} instead",
            hint="put the patch of that name back in its place",
        )
    if fault := record_fault(opened.stack, header):
        raise RefusedFileError(
            f"{opened.folder / STACK_FILE} {fault}",
            hint="copy the base again and apply the patches in .editcore/patches",
        )
    return header


def record_fault(stack: Stack, header: PatchHeader) -> str | None:
    """The difference between the record of a folder and a patch about the tensors it touches, or None."""
    recorded = [
        (target.patches[header.patch_id], key, target)
        for key, target in stack.targets.items()
        if header.patch_id in target.patches
    ]
    if sorted(name for name, _, _ in recorded) != sorted(header.targets):
        return f"does not record the tensors that patch {short(header.patch_id)} touches"
    for name, key, target in recorded:
        made_for = header.targets[name]
        found = target.dtype, target.shape, target.base_sha256
        if found != (made_for.base_dtype, made_for.shape, made_for.base_sha256):
            return f"records another original of {key} than patch {short(header.patch_id)} was made for"
    return None


def stored_whole(opened: Checkpoint, patch_id: str) -> Patch:
    """A patch of the stack with its tensors. Raises as `stored_patch`."""
    header = stored_patch(opened, patch_id)
    with opened.unchanged():
        return Patch.load(header.path)
