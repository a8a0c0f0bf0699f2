"""The patches that a folder carries beside its weights: a model of transformers does not know of them.

`editcore-runtime/stack.json` lists them in order; `editcore-runtime/<id>.safetensors` are the patches; README.md says
that a plain load goes without them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.file.patch import Patch, PatchHeader
from editcore.patches.file.refusal import is_hash
from editcore.storage.canonical import read_object
from editcore.text.ids import short
from editcore_hooks import RefusedFileError

RUNTIME: Final = "editcore-runtime"
LIST: Final = "stack.json"
_FORMAT: Final = "editcore.runtime"
_VERSION: Final = "1.0"


def runtime_ids(folder: Path) -> tuple[str, ...]:
    """The ids of the patches beside the weights of a folder, the latest last. Raises `RefusedFileError`."""
    path = folder / RUNTIME / LIST
    if not path.is_file():
        return ()
    hint = f"apply the patches again; they are in {folder / RUNTIME}"
    if path.is_symlink() or path.parent.is_symlink():
        raise RefusedFileError(f"{path} is a link, which editcore does not follow", hint="copy the folder whole")
    found = read_object(path, str(path), hint)
    if (found.get("format"), found.get("format_version")) != (_FORMAT, _VERSION):
        raise RefusedFileError(f"{path} has a format that this version does not read", hint="pip install -U editcore")
    ids = found.get("patches")
    if not isinstance(ids, list) or not all(map(is_hash, ids)) or len(set(ids)) < len(ids):
        raise RefusedFileError(f"{path} does not list patches by id, each once", hint=hint)
    return tuple(ids)


def runtime_record(ids: Sequence[str]) -> Mapping[str, Any]:
    """What `stack.json` holds."""
    return {"format": _FORMAT, "format_version": _VERSION, "patches": list(ids)}


def runtime_path(folder: Path, patch_id: str) -> Path:
    """The file of a patch."""
    return folder / RUNTIME / f"{patch_id}.safetensors"


def runtime_headers(checkpoint: Checkpoint) -> list[PatchHeader]:
    """The patches of a folder, their tensors unread. Raises `RefusedFileError` for a missing or another file."""
    headers = []
    for patch_id in runtime_ids(checkpoint.folder):
        header = Patch.read_header(runtime_path(checkpoint.folder, patch_id))
        if header.patch_id != patch_id:
            raise RefusedFileError(
                f"{header.path} holds patch {short(header.patch_id)} instead",
                hint="put the patch of that name back in its place",
            )
        headers.append(header)
    return headers


def runtime_patches(checkpoint: Checkpoint) -> list[Patch]:
    """The same with their tensors, every hash checked."""
    return [Patch.load(header.path) for header in runtime_headers(checkpoint)]
