"""Copying a weight file with some tensors replaced: header and all other bytes stay as they are."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from io import FileIO
from pathlib import Path

from attrs import frozen

from editcore.storage import durable
from editcore.storage.safetensors_reader import Entry


@frozen
class Replacement:
    """The place of a tensor and a call for its new bytes, made once, so that one tensor is in memory at a time."""

    entry: Entry
    produce: Callable[[], bytes]


def splice(source: Path, destination: Path, replacements: Mapping[str, Replacement]) -> dict[str, str]:
    """Write `destination`, which must not be there; return the sha256 of each replaced tensor's bytes."""
    hashes: dict[str, str] = {}
    with source.open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        chunks = _chunks(file, status.st_size, replacements, hashes)
        durable.write_new(destination, chunks, durable.Access.from_status(status))
    return hashes


def _chunks(
    file: FileIO, size: int, replacements: Mapping[str, Replacement], hashes: dict[str, str]
) -> Iterator[bytes | durable.Span]:
    position = 0
    for key, replacement in sorted(replacements.items(), key=lambda item: item[1].entry.start):
        yield durable.Span(file, position, replacement.entry.start - position)
        data = replacement.produce()
        hashes[key] = hashlib.sha256(data).hexdigest()
        yield data
        position = replacement.entry.end
    yield durable.Span(file, position, size - position)
