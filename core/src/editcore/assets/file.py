"""One asset in one safetensors file: its manifest, written at once, and read back with every byte checked.

The manifest is the only metadata key (`editcore`), canonical JSON: several keys would be written in any order, and the
same asset would be another file each time. `core` identifies, `about` is annotation, each under its own hash.
"""

import hashlib
import json
import os
import secrets
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from attrs import frozen

from editcore.assets.identity import Identity, canonical
from editcore_hooks import RefusedFileError

FORMAT: Final = "editcore.asset"
MAJOR: Final = 1
_LARGEST_HEADER: Final = 100_000_000  # bytes, the limit of the safetensors format
_BLOCK: Final = 1 << 22  # bytes


class CorruptAssetError(RefusedFileError):
    """The file is not what it was when it was written; to compute it again mends it."""


@frozen
class Manifest:
    """What the header says, checked against itself. `spans` are the byte ranges of the tensors in the file."""

    identity: Identity
    about: Mapping[str, Any]
    tensors: Mapping[str, str]
    sha256: str
    spans: Mapping[str, tuple[int, int]]


def read_manifest(path: Path) -> Manifest:
    """The manifest alone, without torch. Raises `CorruptAssetError` when header and file do not agree."""
    try:
        with path.open("rb") as file:
            return _manifest(file, path.stat().st_size)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, struct.error) as error:
        raise CorruptAssetError(f"the asset {path.name} is corrupt: {type(error).__name__} in its header") from error
    except _MismatchError as error:
        raise CorruptAssetError(f"the asset {path.name} is corrupt: {error}") from None


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


class _MismatchError(Exception):
    pass


def _manifest(file: BinaryIO, size: int) -> Manifest:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(size - 8, _LARGEST_HEADER):
        raise _MismatchError("its header is longer than the file")
    header = json.loads(file.read(length))
    manifest = json.loads(header.pop("__metadata__")["editcore"])
    if manifest["format"] != FORMAT:
        raise _MismatchError("it is no asset")
    if int(manifest["format_version"].partition(".")[0]) > MAJOR:
        raise RefusedFileError(
            f"the asset has the format {manifest['format_version']}, newer than this editcore reads",
            hint="pip install --upgrade editcore",
        )
    core, about = manifest["core"], manifest["about"]
    for value, expected in ((core, manifest["sha256"]), (about, manifest["about_sha256"])):
        if hashlib.sha256(canonical(value)).hexdigest() != expected:
            raise _MismatchError("its manifest was changed")
    start = 8 + length
    spans = {
        name: (start + entry["data_offsets"][0], start + entry["data_offsets"][1]) for name, entry in header.items()
    }
    if spans.keys() != core["tensors"].keys():
        raise _MismatchError("its tensors are not those of the manifest")
    if max((end for _, end in spans.values()), default=start) != size:
        raise _MismatchError("it is cut off or too long")
    identity = Identity(core["kind"], core["owner"], core["base_root"], core["parameters"])
    return Manifest(identity, about, core["tensors"], manifest["sha256"], spans)


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
