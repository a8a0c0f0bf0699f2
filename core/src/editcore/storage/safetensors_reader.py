"""The header of a safetensors file, read strictly and without torch: nothing is believed before it is checked.

The format leaves holes, overlaps and duplicate names to the reader's judgement; here each of them is a refusal,
because a file that two readers understand differently is how a harmless-looking patch hides another one.
"""

import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from editcore.storage.canonical import load_json
from editcore_hooks import RefusedFileError

MAX_HEADER: Final = 100_000_000
DTYPE_BITS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}


@frozen
class Entry:
    """One tensor: `start` and `end` are byte offsets from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@frozen
class Header:
    """The declared content of a safetensors file; `size` is the size of the whole file in bytes."""

    entries: Mapping[str, Entry]
    metadata: Mapping[str, str] = field(factory=dict)
    size: int = 0


def read_header(path: Path) -> Header:
    """Read and check the header of `path`. Raises `RefusedFileError` naming what is wrong with it."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            begin = file.read(8)
            _refuse_other_format(path, begin, size)
            length = int.from_bytes(begin, "little")
            if size < 8 or (length > size - 8 and not _is_length(length, file.read(1))):
                raise RefusedFileError(f"{path} is not a safetensors file", hint=_NO_SAFETENSORS)
            if length > size - 8:
                raise RefusedFileError(f"{path} is truncated: its header is longer than the file", hint=_AGAIN)
            if length > MAX_HEADER:
                raise RefusedFileError(f"the header of {path} is over {MAX_HEADER} bytes", hint=_AGAIN)
            raw = file.read(length)
    except OSError as error:
        raise RefusedFileError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    if raw[:1] != b"{":
        raise RefusedFileError(f"{path} is not a safetensors file: its header is not a JSON object", hint=_AGAIN)
    document = load_json(raw, f"the header of {path}", max_bytes=MAX_HEADER)
    metadata = document.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise RefusedFileError(f"the metadata of {path} are not text by text", hint=_AGAIN)
    entries = {name: _entry(path, name, value, 8 + length) for name, value in document.items()}
    _check_cover(path, entries, 8 + length, size)
    return Header(entries, metadata, size)


def read_span(path: Path, entry: Entry) -> bytes:
    """The stored bytes of one tensor. Raises `RefusedFileError` when the file is gone or has become shorter."""
    try:
        with path.open("rb") as file:
            file.seek(entry.start)
            data = file.read(entry.end - entry.start)
    except OSError as error:
        raise RefusedFileError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    if len(data) != entry.end - entry.start:
        raise RefusedFileError(f"{path} is truncated", hint=_AGAIN)
    return data


def span_sha256(path: Path, entry: Entry) -> str:
    """The hash of a tensor's stored bytes, streamed from the file."""
    digest = hashlib.sha256()
    left = entry.end - entry.start
    with path.open("rb") as file:
        file.seek(entry.start)
        while left and (chunk := file.read(min(left, _CHUNK))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()


def _is_length(length: int, after: bytes) -> bool:
    """Whether eight bytes at the beginning of a file that is too short may be a header's length, and not some text."""
    return length <= MAX_HEADER and after in (b"", b"{")


def _refuse_other_format(path: Path, begin: bytes, size: int) -> None:
    """Name what a file is that is taken for safetensors by its ending alone."""
    if not size:
        raise RefusedFileError(f"{path} is empty", hint=_AGAIN)
    for magic, what, hint in _OTHERS:
        if begin.startswith(magic):
            raise RefusedFileError(f"{path} is {what} and not a safetensors file", hint=hint)


_CHUNK: Final = 2**18
_AGAIN: Final = "get the file again from its source"
_NO_SAFETENSORS: Final = "name a file that ends in .safetensors and was written as one, or get it again"
_SAVE: Final = "save it with safetensors: model.save_pretrained(DIR), or safetensors.torch.save_file"
_OTHERS: Final = (
    (b"PK\x03\x04", "a zip archive, as torch.save writes for .pt and .bin,", _SAVE),
    (b"\x80\x02", "a pickle, as torch.save wrote for .pt and .bin,", _SAVE),
    (b"GGUF", "a GGUF file", "convert it: editcore import FILE.gguf -o DIR"),
    (b"version ", "a Git LFS pointer", "fetch its content with `git lfs pull`"),
    (b"<!DOCTYP", "a web page", _AGAIN),
)


def _entry(path: Path, name: str, value: Any, data_start: int) -> Entry:
    where = f"tensor {name!r} of {path}"
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise RefusedFileError(f"{where} is not described by dtype, shape and data_offsets alone", hint=_AGAIN)
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise RefusedFileError(f"{where} has the unknown dtype {dtype!r}", hint="upgrade editcore")
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise RefusedFileError(f"{where} has an invalid shape or invalid offsets", hint=_AGAIN)
    if math.prod(shape) * DTYPE_BITS[dtype] != (offsets[1] - offsets[0]) * 8:
        raise RefusedFileError(f"the byte length of {where} does not match {dtype} of shape {shape}", hint=_AGAIN)
    return Entry(dtype, tuple(shape), data_start + offsets[0], data_start + offsets[1])


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _check_cover(path: Path, entries: Mapping[str, Entry], start: int, size: int) -> None:
    """Every byte after the header belongs to exactly one tensor: no overlap, no hole, nothing after the last."""
    position = start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != position:
            fault = "overlaps another" if entry.start < position else "leaves a hole before it"
            raise RefusedFileError(f"tensor {name!r} of {path} {fault}", hint=_AGAIN)
        position = entry.end
    if position != size:
        fault = "is truncated" if position > size else "holds bytes that belong to no tensor"
        raise RefusedFileError(f"{path} {fault}", hint=_AGAIN)
