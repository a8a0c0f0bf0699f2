"""A stack written down: a JSON file, and copies of its patches in a folder beside it, to put on a clean base again.

The patches are files of their own, not text inside the JSON: each stays a patch that every other command takes.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import field, frozen

from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.stack import stack_hash
from editcore.patches.checkpoint.stored import stored_patch, stored_whole
from editcore.patches.file.patch import Patch, PatchHeader
from editcore.storage import durable, lock
from editcore.storage.canonical import load_json
from editcore.text.ids import short
from editcore.text.shell import quoted
from editcore_hooks import ConflictError, EditcoreError, RefusedFileError, UsageError, WrongBaseError

FORMAT: Final = "editcore.stack-export"
P = TypeVar("P", Patch, PatchHeader)
_HEX: Final = re.compile(r"[0-9a-f]{64}")


@frozen
class StackExport:
    """`files` maps the ids, in the order of the stack, to patch files; `results` each touched tensor to its hash."""

    path: Path
    base: Mapping[str, Any]
    files: Mapping[str, Path]
    results: Mapping[str, str] = field(repr=False)

    @property
    def patch_ids(self) -> tuple[str, ...]:
        return tuple(self.files)

    @property
    def hash(self) -> str:
        return stack_hash(self.files)

    def load(self) -> list[Patch]:
        """The patches in order. Raises `RefusedFileError` when a file is missing, damaged or another patch."""
        return [self._checked(patch_id, Patch.load(file)) for patch_id, file in self.files.items()]

    def headers(self) -> list[PatchHeader]:
        """The same without their tensors."""
        return [self._checked(patch_id, Patch.read_header(file)) for patch_id, file in self.files.items()]

    def _checked(self, patch_id: str, found: P) -> P:
        if found.patch_id != patch_id:
            raise RefusedFileError(
                f"{self.files[patch_id]} is patch {short(found.patch_id)}, {self.path} names {short(patch_id)} there",
                hint="export the stack again",
            )
        return found

    def require_clean(self, checkpoint: Checkpoint) -> None:
        """Hash the whole folder. Raises `ConflictError` when it carries patches, `WrongBaseError` for another base."""
        if checkpoint.patch_ids:
            ids = " ".join(map(short, checkpoint.patch_ids))
            raise ConflictError(
                f"{checkpoint.folder} carries patches, and a stack is put on a clean base",
                hint=f"`editcore revert {ids} --model {quoted(checkpoint.folder)}`",
            )
        found = checkpoint.weights_root()
        if found != self.base["weights_root"]:
            raise WrongBaseError(
                f"{checkpoint.folder} is not the base of {self.path}: "
                f"expected weights root {self.base['weights_root']}, found {found}",
                hint=f"use {self.base.get('name') or 'the base that it was exported from'}",
            )

    def other_bits(self, results: Mapping[str, str]) -> tuple[str, ...]:
        """The tensors that came out otherwise than where the stack was exported."""
        return tuple(sorted(key for key in self.results.keys() | results if self.results.get(key) != results.get(key)))


def write_export(checkpoint: Checkpoint, path: Path | str) -> StackExport:
    """Write the stack of a folder to `path` and its patches to the folder `<stem>.patches` beside it.

    Hashes the whole base. Raises `UsageError` without patches, or when something exists already.
    """
    path = Path(path)
    beside = path.with_name(f"{path.stem}.patches")
    if not checkpoint.patch_ids:
        raise UsageError(f"{checkpoint.folder} carries no patches", hint="apply patches with `editcore apply`")
    for taken in (path, beside):
        if taken.exists():
            raise UsageError(f"{taken} exists", hint="choose another name, or remove it")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint=f"mkdir -p {quoted(path.parent)}")
    with lock.reading(checkpoint.folder):
        base = stored_patch(checkpoint, checkpoint.patch_ids[0]).annotation("base")
        document = {
            "format": FORMAT,
            "format_version": "1.0",
            "base": {
                "name": checkpoint.stack.base.get("name") or base.get("name"),
                "revision": base.get("revision"),
                "weights_root": checkpoint.weights_root(),
            },
            "patches": [
                {**patch, "file": f"{beside.name}/{patch['id']}.safetensors"} for patch in checkpoint.stack.patches
            ],
            "stack_hash": checkpoint.stack.hash,
            "result_sha256": {key: target.result_sha256 for key, target in checkpoint.stack.targets.items()},
        }
        try:
            durable.make_folder(beside)
            for patch_id in checkpoint.patch_ids:
                stored_whole(checkpoint, patch_id).save(beside / f"{patch_id}.safetensors")
            text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
            durable.write_atomically(path, [text.encode() + b"\n"])
        except OSError as error:
            hint = f"{durable.remedy(error)} and try again"
            raise EditcoreError(f"cannot write {path}: {error.strerror}", hint=hint) from error
    return read_export(path)


def read_export(path: Path | str) -> StackExport:
    """Read and check the JSON; the patches are read by `load`. Raises `UsageError` and `RefusedFileError`."""
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint="write one with `editcore stack export DIR -o FILE`")
    document = load_json(path.read_bytes(), str(path))
    try:
        version = document["format_version"]
        if document["format"] != FORMAT or not re.fullmatch(r"1\.\d{1,4}", version):
            raise RefusedFileError(
                f"{path} has format {document['format']} {version}, which this version does not read",
                hint="pip install --upgrade editcore",
            )
        files = {_hex(row["id"]): path.parent / _inside(row["file"]) for row in document["patches"]}
        results = {str(key): _hex(sha256) for key, sha256 in document["result_sha256"].items()}
        export = StackExport(
            path, {**document["base"], "weights_root": _hex(document["base"]["weights_root"])}, files, results
        )
        if not files or len(files) != len(document["patches"]) or document["stack_hash"] != export.hash:
            raise ValueError("its hash does not match its ids")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedFileError(f"{path} is not an exported stack, or is damaged ({error})", hint=_AGAIN) from error
    return export


_AGAIN: Final = "export it again: editcore stack export DIR -o FILE"


def _hex(value: Any) -> str:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ValueError(f"{value!r} is not a hash")
    return value


def _inside(name: str) -> Path:
    """A path that stays beside the JSON: an export from elsewhere must not name other files of this machine."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"{name!r} is not a file beside it")
    return path
