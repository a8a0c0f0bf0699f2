"""A copy of a checkpoint folder that is there whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from editcore.patches import durable, lock
from editcore.patches.checkpoint import Checkpoint
from editcore.patches.journal import refuse_unfinished
from editcore.patches.ondisk import AppliedOnDisk, apply_on_disk
from editcore.patches.patch import Patch
from editcore_hooks import EditcoreError, UsageError

_CHUNK: Final = 2**26
_LEFT_OUT: Final = (".git", ".cache", "*.bin", "*.h5", "*.msgpack", "*.pt", "*.pth", "*.gguf", "*.onnx", "*.ckpt")


def copy_checkpoint(source: Path | str, destination: Path | str) -> Checkpoint:
    """Copy a folder with its patches. Links become files; weights in other formats, which patches miss, stay behind.

    Raises `UsageError` when `destination` holds something, and what `Checkpoint.open` raises.
    """
    return apply_to_copy(source, destination, ())[0]


def apply_to_copy(
    source: Path | str,
    destination: Path | str,
    patches: Sequence[Patch],
    strict: bool = False,
    put_on: Callable[[Path, Sequence[Patch], bool], AppliedOnDisk] = apply_on_disk,
) -> tuple[Checkpoint, AppliedOnDisk | None]:
    """Copy `source` and put `patches` on the copy before it appears under its name; `source` is only read.

    `put_on` is called with the unfinished copy, the patches and `strict`.
    """
    source, destination = Path(source), Path(destination)
    _refuse_occupied(source, destination)
    staged = destination.parent / f".{destination.name}.{secrets.token_hex(6)}.tmp"
    try:
        with lock.reading(source):
            refuse_unfinished(source)
            Checkpoint.open(source)
            _copy_tree(source, staged)
        applied = put_on(staged, patches, strict) if patches else None
        if destination.is_dir():
            destination.rmdir()
        durable.replace(staged, destination)
    except OSError as error:
        hint = f"{durable.remedy(error)} and try again"
        raise EditcoreError(f"cannot copy {source} to {destination}: {error.strerror}", hint=hint) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Checkpoint.open(destination), applied


def _refuse_occupied(source: Path, destination: Path) -> None:
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UsageError(f"{destination} exists and is not empty", hint="choose a folder that does not exist")
    if not destination.parent.is_dir():
        raise UsageError(f"there is no folder {destination.parent}", hint=f"mkdir -p {destination.parent}")
    if destination.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{destination} lies inside {source}", hint="choose a folder beside it")


def _copy_tree(source: Path, destination: Path) -> None:
    destination.mkdir()
    for path in sorted(source.iterdir()):
        if any(path.match(pattern) for pattern in _LEFT_OUT):
            continue
        if path.is_dir() and not path.is_symlink():
            _copy_tree(path, destination / path.name)
        elif path.is_file():
            _copy_file(path, destination / path.name)
    durable.sync_folder(destination)


def _copy_file(source: Path, destination: Path) -> None:
    """Copy with the kernel's help, which shares the blocks where the file system can."""
    with source.open("rb") as reading, destination.open("xb") as writing:
        try:
            while os.copy_file_range(reading.fileno(), writing.fileno(), _CHUNK):
                pass
        except OSError:  # another file system, or one that cannot
            reading.seek(0)
            writing.seek(0)
            writing.truncate()
            shutil.copyfileobj(reading, writing, _CHUNK)
        writing.flush()
        os.fsync(writing.fileno())
    shutil.copymode(source, destination)
