"""The journal of a change: written first, so that whatever a kill leaves behind is named in it.

Phase `prepare`: new files may lie about, nothing that is loaded has changed. Phase `commit`: one rename of `staged`
over `final` makes the new state; before it the folder is the old state, after it the new one.
"""

import json
from pathlib import Path
from typing import Any, Final, Literal

from attrs import field, frozen

from editcore.patches import durable, lock
from editcore.patches.canonical import load_json
from editcore.patches.stack import FOLDER, Stack
from editcore_hooks import ConflictError, RefusedFileError

_FORMAT: Final = "editcore.journal"


@frozen
class Journal:
    """Names are file names in the folder; `old_files` go when the change is finished, `new_files` when it is not."""

    phase: Literal["prepare", "commit"]
    staged: str
    final: str
    old: Stack
    new: Stack = field(factory=Stack)
    old_files: tuple[str, ...] = ()
    new_files: tuple[str, ...] = ()


def journal_path(folder: Path) -> Path:
    return folder / FOLDER / "journal.json"


def refuse_unfinished(folder: Path) -> None:
    """Raise when a change of `folder` is under way (`ConflictError`) or was cut short (`RefusedFileError`)."""
    if journal_path(folder).exists():
        if lock.is_being_written(folder):
            raise ConflictError(f"another editcore is writing {folder}", hint="wait for it and try again")
        refuse_repairable(folder)


def refuse_repairable(folder: Path) -> None:
    """Raise `RefusedFileError` when there is a journal; for whoever holds the lock and so knows no writer is alive."""
    if journal_path(folder).exists():
        raise RefusedFileError(f"a change of {folder} was cut short", hint=f"run `editcore repair {folder}`")


def write_journal(folder: Path, journal: Journal) -> None:
    document = {
        "format": _FORMAT,
        "format_version": "1.0",
        "phase": journal.phase,
        "staged": journal.staged,
        "final": journal.final,
        "old": journal.old.as_json(),
        "new": journal.new.as_json(),
        "old_files": list(journal.old_files),
        "new_files": list(journal.new_files),
    }
    durable.write_atomically(journal_path(folder), [json.dumps(document, sort_keys=True).encode()])


def read_journal(folder: Path) -> Journal | None:
    """The unfinished change, None without one. Raises `RefusedFileError` for a journal that was not written by us."""
    path = journal_path(folder)
    if not path.exists():
        return None
    document = load_json(path.read_bytes(), str(path))
    try:
        if document["format"] != _FORMAT or document["phase"] not in ("prepare", "commit"):
            raise ValueError("it is of another format")
        return Journal(
            document["phase"],
            _name(document["staged"]),
            _name(document["final"]),
            Stack.from_json(document["old"], str(path)),
            Stack.from_json(document["new"], str(path)),
            tuple(_name(name) for name in document["old_files"]),
            tuple(_name(name) for name in document["new_files"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedFileError(f"{path} is damaged ({error})", hint="copy the base again") from error


def _name(value: Any) -> str:
    # These files get removed: a journal from elsewhere must not reach out of its folder.
    if not isinstance(value, str) or Path(value).name != value:
        raise ValueError(f"{value!r} is not a file name")
    return value
