"""Copying a weight file with some tensors replaced: header and all other bytes stay as they are."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Final

from attrs import frozen

from editcore.patches import durable
from editcore.patches.header import Entry

_CHUNK: Final = 2**18
"""Small enough to stay in the processor's cache between read and write: 4 MiB at a time takes several times as long."""


@frozen
class Replacement:
    """Where a tensor lies, and how to get its new bytes, called once so that one tensor is in memory at a time."""

    entry: Entry
    produce: Callable[[], bytes]


def splice(source: Path, destination: Path, replacements: Mapping[str, Replacement]) -> dict[str, str]:
    """Write `destination`, which must not be there; return the sha256 of each replaced tensor's bytes."""
    hashes: dict[str, str] = {}
    with source.open("rb", buffering=0) as file:
        durable.write_new(destination, _chunks(file, replacements, hashes), source.stat().st_mode & 0o777)
    return hashes


def _chunks(
    file: FileIO, replacements: Mapping[str, Replacement], hashes: dict[str, str]
) -> Iterator[bytes | memoryview]:
    buffer, position = memoryview(bytearray(_CHUNK)), 0
    for key, replacement in sorted(replacements.items(), key=lambda item: item[1].entry.start):
        yield from _copied(file, buffer, position, replacement.entry.start)
        data = replacement.produce()
        hashes[key] = hashlib.sha256(data).hexdigest()
        yield data
        position = replacement.entry.end
    yield from _copied(file, buffer, position, None)


def _copied(file: FileIO, buffer: memoryview, start: int, end: int | None) -> Iterator[memoryview]:
    """Bytes `start` to `end`, or to the end of the file; each piece in the one buffer, good until the next is taken."""
    file.seek(start)
    left = len(buffer) if end is None else end - start
    while left and (n := file.readinto(buffer[:left])):
        yield buffer[:n]
        left = len(buffer) if end is None else left - n
