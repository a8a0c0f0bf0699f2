"""Writing a safetensors file: the same tensors and metadata give the same bytes, every time and everywhere."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from editcore.storage import durable
from editcore.storage.safetensors_reader import DTYPE_BITS
from editcore_hooks import UsageError


@frozen
class Blob:
    """A tensor as stored: safetensors dtype name, shape, little-endian bytes in C order."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


@frozen
class Streamed:
    """A tensor to be written whose bytes are made when their turn comes."""

    dtype: str
    shape: tuple[int, ...]
    produce: Callable[[], bytes | memoryview]


def write_streamed(
    path: Path, tensors: Mapping[str, Streamed], metadata: Mapping[str, str], access: durable.Access
) -> None:
    """Write a file that is not there yet, with one tensor in memory at a time. Raises `OSError`."""
    durable.write_new(path, streamed_chunks(tensors, metadata), access)


def streamed_chunks(tensors: Mapping[str, Streamed], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """The bytes of the file, a tensor at a time."""
    yield _header(tensors, metadata)
    for name in _order(tensors):
        yield tensors[name].produce()


def write_safetensors(path: Path, tensors: Mapping[str, Blob], metadata: Mapping[str, str]) -> None:
    """Write `path` atomically. Raises `UsageError` when its folder is missing, it is a folder, or it cannot be
    written."""
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else f"cannot be written: {path.parent} is not a folder"
        raise UsageError(f"{path} {what}", hint="give the path of a file in a folder that exists")
    try:
        durable.write_atomically(path, safetensors_chunks(tensors, metadata))
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", hint="choose a folder with room to write") from error


def safetensors_chunks(tensors: Mapping[str, Blob], metadata: Mapping[str, str]) -> list[bytes]:
    """The bytes of the file, in pieces."""
    return [_header(tensors, metadata), *(tensors[name].data for name in _order(tensors))]


def _order(tensors: Mapping[str, Blob] | Mapping[str, Streamed]) -> list[str]:
    # Wide dtypes first keeps every tensor aligned to its own size, which torch needs to view the mapped file.
    return sorted(tensors, key=lambda name: (-DTYPE_BITS[tensors[name].dtype], name))


def _header(tensors: Mapping[str, Blob] | Mapping[str, Streamed], metadata: Mapping[str, str]) -> bytes:
    document: dict[str, Any] = {"__metadata__": dict(metadata)}
    position = 0
    for name in _order(tensors):
        blob = tensors[name]
        end = position + math.prod(blob.shape) * DTYPE_BITS[blob.dtype] // 8
        document[name] = {"data_offsets": [position, end], "dtype": blob.dtype, "shape": list(blob.shape)}
        position = end
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
