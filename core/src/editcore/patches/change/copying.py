"""A copy of a checkpoint folder that is there whole or not at all."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from editcore.patches.change.links import Reach, faults
from editcore.patches.change.ondisk import AppliedOnDisk, commit
from editcore.patches.change.plan import Plan, plan_change
from editcore.patches.change.second_reading import planned_on
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.journal import refuse_unfinished
from editcore.patches.checkpoint.shards import INDEX
from editcore.patches.checkpoint.stack import FOLDER, STACK_FILE
from editcore.patches.file.patch import Patch
from editcore.storage import durable, lock
from editcore.storage.staging import place_beside
from editcore.text.shell import quoted
from editcore_hooks import EditcoreError, RefusedFileError, UsageError

_LEFT_OUT: Final = (".git", ".cache", "*.bin", "*.h5", "*.msgpack", "*.pt", "*.pth", "*.gguf", "*.onnx", "*.ckpt")


def copy_checkpoint(source: Path | str, destination: Path | str) -> Checkpoint:
    """Copy a folder with its patches. Links become files. Weights in other formats, which patches miss, and what
    `left_out` names are not copied.

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
    """`commit_to_copy` of `patches` on and the ids of `without` off. Raises what `plan_change` raises as well."""
    opened = Checkpoint.open(source)
    gone = [opened.stack.find(prefix) for prefix in without]
    applied = commit_to_copy(plan_change(opened, patches, gone, strict=strict), destination, history)
    return Checkpoint.open(destination), applied


def commit_to_copy(plan: Plan, destination: Path | str, history: bool = True) -> AppliedOnDisk:
    """Copy the folder of `plan` with the change made in the copy; the folder is only read, and never in part.

    A weight file that the patches change is written once, from that of the folder, and not copied first. Without
    `history` the copy is a plain checkpoint: no patch, no original and no name of one is left in it.
    """
    source = plan.checkpoint.folder
    checked = [plan]

    def borrow(opened: Checkpoint) -> Collection[str]:
        checked.append(planned_on(opened, plan))
        return {rewrite.source for rewrite in checked[-1].rewrites}

    with staged_copy(source, destination, borrow) as staged:
        applied = commit(checked[-1], staged)
        if not history:
            durable.remove(staged / STACK_FILE)
            durable.remove_tree(staged / FOLDER)
    # What they say of the folder is true under its name.
    notices = tuple(notice.replace(str(staged), str(destination)) for notice in applied.notices)
    return attrs.evolve(applied, notices=(*left_out(source), *notices))


def left_out(source: Path | str) -> tuple[str, ...]:
    """A line for each thing in a folder that a copy of it does not have: links to elsewhere, and what is no file."""
    source = Path(source)
    return tuple(f"{fault}: it is not copied" for _, fault in faults(source, Reach.of(source), _stays_behind))


@contextmanager
def staged_copy(
    source: Path | str, destination: Path | str, borrow: Callable[[Checkpoint], Collection[str]] = lambda _: ()
) -> Iterator[Path]:
    """A hidden copy of `source` for the body to change; when the body is done it appears as `destination`.

    Of the files that `borrow` names it holds links to those of `source`, and the body must replace them. `borrow` is
    called with `source` opened, and the body runs, while no writer can change `source`.
    """
    source, destination = Path(source), Path(destination)
    _refuse_occupied(source, destination)
    try:
        with place_beside(destination) as staged:
            with lock.reading(source):
                refuse_unfinished(source)
                opened, reach = Checkpoint.open(source), Reach.of(source)
                _refuse_needed_links(opened, reach)
                _copy_tree(source, staged, reach, borrow(opened))
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


def require_copyable(opened: Checkpoint, destination: Path | str) -> None:
    """Raise what `staged_copy` would raise for the folder as it is and for `destination`, before anything is made."""
    _refuse_occupied(opened.folder, Path(destination))
    _refuse_needed_links(opened, Reach.of(opened.folder))


def _refuse_occupied(source: Path, destination: Path) -> None:
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UsageError(f"{destination} exists and is not empty", hint="choose a folder that does not exist")
    if not destination.parent.is_dir():
        raise UsageError(f"there is no folder {destination.parent}", hint=f"mkdir -p {quoted(destination.parent)}")
    if destination.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{destination} lies inside {source}", hint="choose a folder beside it")


def _refuse_needed_links(opened: Checkpoint, reach: Reach) -> None:
    """Raise `RefusedFileError` where a copy would lack weights, configuration or record."""
    needed = {*opened.shards.files.values(), INDEX, "config.json", STACK_FILE, FOLDER}
    for path, fault in faults(opened.folder, reach, _stays_behind):
        if path.relative_to(opened.folder).parts[0] in needed:
            raise RefusedFileError(
                f"{fault}: a copy follows only links that stay inside",
                hint=f"copy the folder whole with `cp -rL {opened.folder} NEW`, and give NEW",
            )


def _stays_behind(path: Path) -> bool:
    return any(path.match(pattern) for pattern in _LEFT_OUT)


def _copy_tree(
    source: Path, destination: Path, reach: Reach, borrowed: Collection[str] = (), above: tuple[Path, ...] = ()
) -> None:
    access = durable.Access.of(source)
    destination.mkdir(0o700)
    above = (*above, source.resolve())
    for path in sorted(source.iterdir()):
        if _stays_behind(path) or reach.fault(path, above):
            continue
        if path.is_dir():
            _copy_tree(path, destination / path.name, reach, above=above)
        elif path.name in borrowed:
            (destination / path.name).symlink_to(path.resolve())
        else:
            durable.copy_new(path, destination / path.name)
    # Its owner can write in a copy, also of a folder that nobody can write in.
    durable.give_folder(destination, attrs.evolve(access, mode=access.mode | 0o700))
    durable.sync_folder(destination)


def _refuse_links(folder: Path) -> None:
    """A copy owns its bytes: a link that was not replaced would make it change with its source."""
    links = [path.name for path in folder.rglob("*") if path.is_symlink()]
    if links:
        raise AssertionError(f"{links[0]} of the copy is a link")
