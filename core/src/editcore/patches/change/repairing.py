"""After a kill: find out which state a folder is in, finish or roll back, and clear what is left over."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

from attrs import frozen

from editcore.patches.checkpoint.journal import Journal, journal_path, read_journal, way_out
from editcore.patches.checkpoint.shards import INDEX, is_shard_of, read_index, read_shards
from editcore.patches.checkpoint.stack import (
    FOLDER,
    STACK_FILE,
    Stack,
    original_index_path,
    original_path,
    patch_path,
    read_stack_file,
    refuse_links,
)
from editcore.storage import durable, lock
from editcore.storage.safetensors_reader import span_sha256
from editcore.storage.staging import clear_places
from editcore_hooks import EditcoreError, RefusedFileError, UsageError


@frozen
class Repaired:
    """The result of `repair`, and the names it removed."""

    action: Literal["nothing", "finished", "rolled back", "cleared"]
    removed: tuple[str, ...] = ()


def repair(folder: Path | str) -> Repaired:
    """Bring a folder back to the state before or after a change that was interrupted, and clear leftovers.

    Copies that were never finished lie beside the name they should have got, so they are cleared also when there is no
    `folder`. Raises `ConflictError` while a writer is at work, `RefusedFileError` when the folder is in neither state.
    """
    folder = Path(folder)
    try:
        unfinished = clear_places(folder)
        if not folder.is_dir():
            if unfinished:
                return Repaired("cleared", unfinished)
            raise UsageError(f"there is no folder {folder}", hint="give the folder of the checkpoint")
        with lock.writing(folder):
            refuse_links(folder)
            before = _names(folder)
            journal = read_journal(folder)
            if journal is not None:
                action = settle(folder, journal)
            else:
                sweep(folder, read_stack_file(folder))
                action = None
            removed = (*unfinished, *sorted(before - _names(folder)))
            return Repaired(action or ("cleared" if removed else "nothing"), removed)
    except OSError as error:
        hint = f"{durable.remedy(error)} and try again"
        raise EditcoreError(f"cannot repair {folder}: {error.strerror}", hint=hint) from error


def current_stack(folder: Path | str) -> Stack:
    """The stack a folder really has, also when a change of it was interrupted; reads only."""
    folder = Path(folder)
    journal = read_journal(folder)
    if journal is None:
        return read_stack_file(folder)
    return journal.new if _is_committed(folder, journal) else journal.old


def settle(folder: Path, journal: Journal) -> Literal["finished", "rolled back"]:
    """Finish or roll back, whichever keeps what is loaded consistent; the lock is held. May be repeated."""
    _refuse_foreign(folder, journal)
    if _is_committed(folder, journal):
        finish(folder, journal)
        return "finished"
    durable.remove(folder / journal.staged)
    _remove_unreferenced(folder, journal.new_files)
    sweep(folder, journal.old)
    return "rolled back"


def finish(folder: Path, journal: Journal) -> None:
    """Steps after the commit: record the new stack, then remove what only the old one needed."""
    if journal.new.patches:
        access = record_access(folder, read_shards(folder).files.values())
        durable.write_atomically(folder / STACK_FILE, [journal.new.as_bytes()], access)
    else:
        durable.remove(folder / STACK_FILE)
    _remove_unreferenced(folder, journal.old_files)
    sweep(folder, journal.new)


def sweep(folder: Path, stack: Stack) -> None:
    """Remove from `.editcore/` what `stack` does not need, the journal last, and the folder itself when all is gone."""
    private = folder / FOLDER
    _remove_ours(folder, re.escape(STACK_FILE), wanted=(folder / STACK_FILE,))
    if not private.is_dir():
        return
    patches = {patch_path(folder, patch_id) for patch_id in stack.patch_ids}
    originals = {original_path(folder, target.base_sha256) for target in stack.targets.values()}
    if stack.patches:
        originals.add(original_index_path(folder))
    _remove_ours(private / "patches", _PATCH, patches)
    _remove_ours(private / "originals", _ORIGINAL, originals)
    _remove_ours(private, _RECORD, {journal_path(folder)})
    if not stack.patches:
        for name in ("patches", "originals"):
            durable.remove_if_empty(private / name)
    # Everything that the journal answers for must be gone for good before the journal is.
    durable.sync_folder(folder)
    durable.remove(journal_path(folder))
    if not stack.patches:
        durable.remove_if_empty(private)
    durable.sync_folder(folder)


_PATCH: Final = r"[0-9a-f]{64}\.safetensors"
_ORIGINAL: Final = rf"[0-9a-f]{{64}}\.raw|{re.escape(INDEX)}"
_RECORD: Final = r"journal\.json|hashes\.json"
"""File names that this program gives. Network disks, notebooks and people keep others beside them, which stay."""


def _remove_ours(folder: Path, names: str, wanted: Iterable[Path]) -> None:
    """Remove the files of `folder` whose names match `names`, except `wanted`, and what writing one left behind."""
    temporary = rf"\.(?:{names})\.[0-9a-f]{{12}}\.tmp"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        ours = re.fullmatch(temporary, path.name) or (re.fullmatch(names, path.name) and path not in wanted)
        if ours and (path.is_symlink() or not path.is_dir()):
            durable.remove(path)


def record_access(folder: Path, names: Iterable[str]) -> durable.Access:
    """The access to what is recorded of the weight files `names`: that of the most private of them."""
    found = [durable.Access.of(folder / name) for name in sorted(set(names))]
    mode = found[0].mode
    for each in found:
        mode &= each.mode
    return durable.Access(mode, found[0].user, found[0].group)


def _refuse_foreign(folder: Path, journal: Journal) -> None:
    """Raise `RefusedFileError` for a journal that is not of a change of this folder: files would be removed by it."""
    recorded = read_stack_file(folder)
    possible = [journal.old] if journal.phase == "prepare" else [journal.old, journal.new]
    fault = None if recorded in possible else f"it starts from other patches than {folder / STACK_FILE} records"
    originals = set(_original_names(folder)) if journal.old_files or journal.new_files else set()
    for name in (*journal.old_files, *journal.new_files):
        if not any(is_shard_of(name, original) for original in originals):
            fault = f"it names {name}, which is not a shard of this folder"
    if fault is not None:
        raise RefusedFileError(
            f"{journal_path(folder)} does not record a change of this folder: {fault}", hint=way_out(folder)
        )


def _original_names(folder: Path) -> Iterator[str]:
    """The names of the shards of the base, those of patched shards among them."""
    for path in (folder / INDEX, original_index_path(folder)):
        if path.is_file():
            yield from set(read_index(path)["weight_map"].values())


def _is_committed(folder: Path, journal: Journal) -> bool:
    """Whether the rename happened, read from the weights themselves and not from names alone."""
    if journal.phase == "prepare":
        return False
    if not (folder / journal.staged).exists() and _holds(folder, journal.new, journal, journal.new_files):
        return True
    if _holds(folder, journal.old, journal, journal.old_files):
        return False
    raise RefusedFileError(
        f"{folder} is in neither the state before nor after the change that was interrupted: "
        "another program changed the weights",
        hint=way_out(folder),
    )


def _holds(folder: Path, stack: Stack, journal: Journal, files: Iterable[str]) -> bool:
    """Whether `files` are in use and every tensor of the change is that of `stack`."""
    try:
        shards = read_shards(folder)
    except RefusedFileError:
        return False
    if not set(files) <= set(shards.files.values()):
        return False
    for key, target in {**journal.old.targets, **journal.new.targets}.items():
        expected = stack.targets[key].result_sha256 if key in stack.targets else target.base_sha256
        if key not in shards.entries:
            return False
        if span_sha256(folder / shards.files[key], shards.entries[key]) != expected:
            return False
    return True


def _remove_unreferenced(folder: Path, names: Iterable[str]) -> None:
    in_use = set(read_shards(folder).files.values())
    for name in names:
        if name not in in_use:
            durable.remove(folder / name)


def _names(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.parent == folder or FOLDER in path.relative_to(folder).parts
    }
