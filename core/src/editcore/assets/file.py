"""One asset in one safetensors file: its manifest, written at once, and read back with every byte checked.

The manifest is the only metadata key (`editcore`), canonical JSON: several keys would be written in any order, and the
same asset would be another file each time. `core` identifies, `about` is annotation, each under its own hash.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from attrs import frozen

from editcore.assets.identity import Identity, canonical
from editcore.storage.canonical import has_negative_zero, load_json
from editcore.storage.safetensors_reader import Header, read_header
from editcore_hooks import EditcoreError, RefusedFileError

FORMAT: Final = "editcore.asset"
MAJOR: Final = 1
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_BLOCK: Final = 1 << 22  # bytes


class CorruptAssetError(RefusedFileError):
    """The file changed after it was written; computing it again fixes it."""


@frozen
class Manifest:
    """The content of the header, checked for consistency. `spans` are the byte ranges of the tensors in the file."""

    identity: Identity
    about: Mapping[str, Any]
    tensors: Mapping[str, str]
    sha256: str
    spans: Mapping[str, tuple[int, int]]


def read_manifest(path: Path) -> Manifest:
    """The manifest alone, without torch, as strictly as that of a patch.

    Raises `CorruptAssetError` when header and file do not agree or a field is not what it must be, `RefusedFileError`
    for an asset of a later format and a file that cannot be read.
    """
    try:
        header = read_header(path)
        if set(header.metadata) != {"editcore"}:
            raise RefusedFileError("its metadata are not the one key `editcore`")
        return _manifest(load_json(header.metadata["editcore"], "its manifest"), header)
    except _LaterFormatError as error:
        raise RefusedFileError(str(error), hint="pip install --upgrade editcore") from None
    except EditcoreError as error:
        if isinstance(error.__cause__, OSError):  # a file that cannot be read may be whole
            raise
        raise CorruptAssetError(f"the asset {path.name} is corrupt: {error.message}") from error


def verify(path: Path) -> Manifest:
    """Hash every tensor of the file. Raises `CorruptAssetError` on the first that differs."""
    manifest = read_manifest(path)
    with path.open("rb") as file:
        for name, (start, end) in manifest.spans.items():
            if _sha256(file, start, end) != manifest.tensors[name]:
                raise CorruptAssetError(f"the asset {path.name} is corrupt: the tensor {name!r} was changed")
    return manifest


def read_tensors(path: Path) -> dict[str, Any]:
    """The tensors, in CPU memory."""
    from safetensors.torch import load_file

    return load_file(path)


def write(path: Path, identity: Identity, tensors: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """Write the file in one rename and return the sha256 of what it is: identity and tensors, not the annotation.

    The rename is the commit: a reader sees the old file or the new one, never half of one.
    """
    import torch
    from safetensors.torch import save_file

    ready: dict[str, torch.Tensor] = {}
    owners: set[int] = set()
    for name, tensor in tensors.items():
        data = tensor.detach().to("cpu").contiguous()
        storage = data.untyped_storage().data_ptr()
        # safetensors refuses two tensors in one storage.
        ready[name] = data.clone() if storage in owners else data
        owners.add(storage)
    hashes = {name: hashlib.sha256(_bytes(data)).hexdigest() for name, data in ready.items()}
    core = {**identity.as_json(), "tensors": hashes}
    sha256 = hashlib.sha256(canonical(core)).hexdigest()
    manifest = {
        "format": FORMAT,
        "format_version": f"{MAJOR}.0",
        "core": core,
        "sha256": sha256,
        "about": dict(about),
        "about_sha256": hashlib.sha256(canonical(dict(about))).hexdigest(),
    }
    text = canonical(manifest).decode()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        save_file(ready, fresh, metadata={"editcore": text})
        _flush(fresh)
        os.replace(fresh, path)
        _flush(path.parent)
    finally:
        fresh.unlink(missing_ok=True)
    return sha256


class _LaterFormatError(Exception):
    pass


def _manifest(document: Any, header: Header) -> Manifest:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise RefusedFileError("it is not an asset")
    version = document.get("format_version")
    match = re.fullmatch(r"([1-9]\d{0,3})\.\d{1,4}", version) if isinstance(version, str) else None
    if match is None:
        raise RefusedFileError(f"invalid format version {str(version)[:40]!r}")
    if int(match[1]) > MAJOR:
        raise _LaterFormatError(f"the asset has the format {version}, newer than this editcore reads")
    _require(document, {"format", "format_version", "core", "sha256", "about", "about_sha256"}, "its manifest")
    core, about = document["core"], document["about"]
    _require(core, {"kind", "owner", "base_root", "parameters", "tensors"}, "its core")
    texts = (core["kind"], core["owner"], core["base_root"])
    objects = (about, core["parameters"], core["tensors"])
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(one, dict) for one in objects):
        raise RefusedFileError("a field of its manifest has another type")
    if not all(isinstance(sha256, str) and _HEX.fullmatch(sha256) for sha256 in core["tensors"].values()):
        raise RefusedFileError("a tensor of its manifest has no sha256")
    if has_negative_zero(core):
        raise RefusedFileError("its core holds a negative zero, which has the hash of 0")
    for value, expected in ((core, document["sha256"]), (about, document["about_sha256"])):
        if hashlib.sha256(canonical(value)).hexdigest() != expected:
            raise RefusedFileError("its manifest was changed")
    if header.entries.keys() != core["tensors"].keys():
        raise RefusedFileError("its tensors are not those of the manifest")
    spans = {name: (entry.start, entry.end) for name, entry in header.entries.items()}
    identity = Identity(core["kind"], core["owner"], core["base_root"], core["parameters"])
    return Manifest(identity, about, core["tensors"], document["sha256"], spans)


def _require(value: Any, fields: set[str], what: str) -> None:
    if not isinstance(value, dict) or set(value) != fields:
        raise RefusedFileError(f"{what} has not just the fields {sorted(fields)}")


def _sha256(file: BinaryIO, start: int, end: int) -> str:
    state = hashlib.sha256()
    file.seek(start)
    while start < end:
        block = file.read(min(_BLOCK, end - start))
        if not block:
            break
        state.update(block)
        start += len(block)
    return state.hexdigest()


def _bytes(data: Any) -> Any:
    import torch

    return data.reshape(-1).view(torch.uint8).numpy()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
