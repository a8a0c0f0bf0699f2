"""One asset in one safetensors file: its manifest, written at once, and read back with every byte checked.

The manifest is the only metadata key (`editcore`), canonical JSON: several keys would be written in any order, and the
same asset would be another file each time. `core` identifies, `about` is annotation, each under its own hash.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from editcore.assets.identity import Identity
from editcore.storage import durable
from editcore.storage.canonical import canonical, has_negative_zero, load_json, sha256_of
from editcore.storage.safetensors_reader import Entry, Header, read_header, span_sha256
from editcore.storage.safetensors_writer import streamed_chunks
from editcore_hooks import EditcoreError, RefusedFileError

FORMAT: Final = "editcore.asset"
MAJOR: Final = 1
_HEX: Final = re.compile(r"[0-9a-f]{64}")


class CorruptAssetError(RefusedFileError):
    """The file changed after it was written; computing it again fixes it."""


@frozen
class Manifest:
    """A checked header. `entries` are the places of the tensors in the file."""

    identity: Identity
    about: Mapping[str, Any]
    tensors: Mapping[str, str]
    sha256: str
    entries: Mapping[str, Entry]


def read_manifest(path: Path) -> Manifest:
    """The manifest alone, without torch, as strictly as that of a patch.

    Raises `CorruptAssetError` when header and file do not agree or a field is not what it must be, `RefusedFileError`
    for an asset of a later format and a file that cannot be read.
    """
    try:
        header = read_header(path)
        if set(header.metadata) != {"editcore"}:
            raise RefusedFileError("its metadata must hold the key `editcore` alone")
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
    for name, entry in manifest.entries.items():
        if span_sha256(path, entry) != manifest.tensors[name]:
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
    from editcore.storage.tensors import streamed_of

    ready = {name: streamed_of(tensor) for name, tensor in tensors.items()}
    hashes = {name: hashlib.sha256(one.produce()).hexdigest() for name, one in ready.items()}
    core = {**identity.as_json(), "tensors": hashes}
    sha256 = sha256_of(core)
    manifest = {
        "format": FORMAT,
        "format_version": f"{MAJOR}.0",
        "core": core,
        "sha256": sha256,
        "about": dict(about),
        "about_sha256": sha256_of(dict(about)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write_atomically(path, streamed_chunks(ready, {"editcore": canonical(manifest).decode()}))
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
        raise RefusedFileError("a field of its manifest has the wrong type")
    if not all(isinstance(sha256, str) and _HEX.fullmatch(sha256) for sha256 in core["tensors"].values()):
        raise RefusedFileError("a tensor of its manifest has no sha256")
    if has_negative_zero(core):
        raise RefusedFileError("its core holds a negative zero, which has the hash of 0")
    for value, expected in ((core, document["sha256"]), (about, document["about_sha256"])):
        if sha256_of(value) != expected:
            raise RefusedFileError("its manifest was changed")
    if header.entries.keys() != core["tensors"].keys():
        raise RefusedFileError("its tensors are not those of the manifest")
    identity = Identity(core["kind"], core["owner"], core["base_root"], core["parameters"])
    return Manifest(identity, about, core["tensors"], document["sha256"], header.entries)


def _require(value: Any, fields: set[str], what: str) -> None:
    if not isinstance(value, dict) or set(value) != fields:
        raise RefusedFileError(f"{what} must have exactly the fields {sorted(fields)}")
