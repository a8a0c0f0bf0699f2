"""A copy of a checkpoint folder that is there whole or not at all."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from editcore.patches import durable, lock
from editcore.patches.checkpoint import Checkpoint
from editcore.patches.hashes import HashCache
from editcore.patches.journal import refuse_unfinished
from editcore.patches.ondisk import AppliedOnDisk, change_on_disk
from editcore.patches.patch import Patch
from editcore.patches.plan import plan_change
from editcore.patches.stack import FOLDER, STACK_FILE
from editcore.patches.staging import place_beside
from editcore_hooks import EditcoreError, UsageError

_LEFT_OUT: Final = (".git", ".cache", "*.bin", "*.h5", "*.msgpack", "*.pt", "*.pth", "*.gguf", "*.onnx", "*.ckpt")


def copy_checkpoint(source: Path | str, destination: Path | str) -> Checkpoint:
    """Copy a folder with its patches. Links become files; weights in other formats, which patches miss, stay behind.

    Raises `UsageError` when `destination` holds something, and what `Checkpoint.open` raises.
    """
    with staged_copy(source, destination):
        pass
    return Checkpoint.open(destination)


def apply_to_copy(
    source: Path | str,
    destination: Path | str,
    patches: Sequence[Patch],
    strict: bool = False,
    without: Sequence[str] = (),
    history: bool = True,
) -> tuple[Checkpoint, AppliedOnDisk]:
    """Copy `source` with `patches` on and the ids of `without` off; `source` is only read, and never in part.

    A weight file that the patches change is written once, from that of `source`, and not copied first. Without
    `history` the copy is a plain checkpoint: no patch, no original and no name of one is left in it.
    """
    source = Path(source)
    rewritten: set[str] = set()
    known: list[HashCache] = []

    def borrow() -> Collection[str]:
        opened = Checkpoint.open(source)
        known.append(opened.hashes)
        gone = [opened.stack.find(prefix) for prefix in without]
        rewritten.update(rewrite.source for rewrite in plan_change(opened, patches, gone, strict=strict).rewrites)
        return rewritten

    with staged_copy(source, destination, borrow) as staged:
        copy = Checkpoint.open(staged)
        copy.hashes.adopt(known[0])
        applied = change_on_disk(copy, patches, without, strict, rewritten)
        if not history:
            durable.remove(staged / STACK_FILE)
            durable.remove_tree(staged / FOLDER)
    # What they say of the folder is true under its name.
    notices = tuple(notice.replace(str(staged), str(destination)) for notice in applied.notices)
    return Checkpoint.open(destination), attrs.evolve(applied, notices=notices)


@contextmanager
def staged_copy(
    source: Path | str, destination: Path | str, borrow: Callable[[], Collection[str]] = tuple
) -> Iterator[Path]:
    """A hidden copy of `source` for the body to change; when the body is done it appears as `destination`.

    Of the files that `borrow` names it holds links to those of `source`, and the body must replace them. `borrow` is
    called, and the body runs, while no writer can change `source`.
    """
    source, destination = Path(source), Path(destination)
    _refuse_occupied(source, destination)
    try:
        with place_beside(destination) as staged:
            with lock.reading(source):
                refuse_unfinished(source)
                Checkpoint.open(source)
                _copy_tree(source, staged, borrow())
                yield staged
            _refuse_links(staged)
            durable.replace(staged, destination)
    except (OSError, EditcoreError) as error:
        # Only the plain class is of the disk: a folder that is busy also has a cause in the system.
        cause = error.__cause__ if type(error) is EditcoreError else error
        if not isinstance(cause, OSError):
            raise
        # The hidden folder is gone, so neither its name nor what to do about it is of use.
        whole = destination.is_dir() and any(destination.iterdir())
        hint = "the copy itself is complete" if whole else f"{durable.remedy(cause)} and try again"
        raise EditcoreError(f"cannot copy {source} to {destination}: {cause.strerror}", hint=hint) from cause


def _refuse_occupied(source: Path, destination: Path) -> None:
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UsageError(f"{destination} exists and is not empty", hint="choose a folder that does not exist")
    if not destination.parent.is_dir():
        raise UsageError(f"there is no folder {destination.parent}", hint=f"mkdir -p {destination.parent}")
    if destination.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{destination} lies inside {source}", hint="choose a folder beside it")


def _copy_tree(source: Path, destination: Path, borrowed: Collection[str] = ()) -> None:
    destination.mkdir()
    for path in sorted(source.iterdir()):
        if any(path.match(pattern) for pattern in _LEFT_OUT):
            continue
        if path.is_dir() and not path.is_symlink():
            _copy_tree(path, destination / path.name)
        elif path.name in borrowed:
            (destination / path.name).symlink_to(path.resolve())
        elif path.is_file():
            durable.copy_new(path, destination / path.name)
    durable.sync_folder(destination)


def _refuse_links(folder: Path) -> None:
    """A copy owns its bytes: a link that was not replaced would make it change with its source."""
    links = [path.name for path in folder.rglob("*") if path.is_symlink()]
    if links:
        raise AssertionError(f"{links[0]} of the copy is a link")
