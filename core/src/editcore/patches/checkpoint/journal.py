"""The journal of a change: written first, so that whatever a kill leaves behind is named in it.

Phase `prepare`: new files may lie about, nothing that is loaded has changed. Phase `commit`: one rename of `staged`
over `final` makes the new state; before it the folder is the old state, after it the new one.
"""

import json
from pathlib import Path
from typing import Any, Final, Literal

from attrs import field, frozen

from editcore.patches.checkpoint.shards import INDEX, SINGLE
from editcore.patches.checkpoint.stack import FOLDER, Stack, file_name
from editcore.storage import durable, lock
from editcore.storage.canonical import load_json
from editcore.text.shell import quoted
from editcore_hooks import ConflictError, RefusedFileError

_FORMAT: Final = "editcore.journal"
_VERSION: Final = "1.0"


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
    """Raise when a change of `folder` is under way (`ConflictError`) or was interrupted (`RefusedFileError`)."""
    if journal_path(folder).exists():
        if lock.is_being_written(folder):
            raise ConflictError(f"another editcore is writing {folder}", hint="wait for it and try again")
        refuse_repairable(folder)


def refuse_repairable(folder: Path) -> None:
    """Raise `RefusedFileError` when there is a journal; for whoever holds the lock and so knows no writer is alive."""
    if journal_path(folder).exists():
        raise RefusedFileError(f"a change of {folder} was interrupted", hint=f"run `editcore repair {quoted(folder)}`")


def staged_name(final: str) -> str:
    """The name of the file `final` before the commit renames it."""
    return f"{final}.editcore.tmp"


def way_out(folder: Path) -> str:
    """The next step for a journal that cannot be followed."""
    return (
        f"if {folder} loads as it should, remove {journal_path(folder)} and run `editcore verify {quoted(folder)}`; "
        "otherwise copy the base again and apply the patches in .editcore/patches"
    )


def write_journal(folder: Path, journal: Journal, access: durable.Access | None = None) -> None:
    document = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "phase": journal.phase,
        "staged": journal.staged,
        "final": journal.final,
        "old": journal.old.as_json(),
        "new": journal.new.as_json(),
        "old_files": list(journal.old_files),
        "new_files": list(journal.new_files),
    }
    durable.write_atomically(journal_path(folder), [json.dumps(document, sort_keys=True).encode()], access)


def read_journal(folder: Path) -> Journal | None:
    """The unfinished change, None without one. Raises `RefusedFileError` for a journal that was not written by us."""
    path = journal_path(folder)
    if not path.exists():
        return None
    try:
        document = load_json(path.read_bytes(), str(path))
        if document["format"] != _FORMAT or document["phase"] not in ("prepare", "commit"):
            raise ValueError("it has another format")
        if document["format_version"] != _VERSION:
            raise ValueError(f"this version does not read its format {document['format_version']}")
        return _checked(
            Journal(
                document["phase"],
                document["staged"],
                document["final"],
                Stack.from_json(document["old"], str(path)),
                Stack.from_json(document["new"], str(path)),
                tuple(_shard(name) for name in document["old_files"]),
                tuple(_shard(name) for name in document["new_files"]),
            )
        )
    except OSError as error:
        raise RefusedFileError(f"cannot read {path}: {error.strerror}", hint=way_out(folder)) from error
    except RefusedFileError as error:
        raise RefusedFileError(error.message, hint=way_out(folder)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedFileError(f"{path} is damaged ({error})", hint=way_out(folder)) from error


def _checked(journal: Journal) -> Journal:
    """These files are renamed and removed, so a journal from elsewhere must name none but those that a change has."""
    if journal.final not in (SINGLE, INDEX) or journal.staged != staged_name(journal.final):
        raise ValueError(f"no change renames {str(journal.staged)[:80]!r} to {str(journal.final)[:80]!r}")
    if journal.final == SINGLE and (journal.old_files or journal.new_files):
        raise ValueError("a folder with a single weight file has no shards")
    return journal


def _shard(value: Any) -> str:
    if not file_name(value).endswith(".safetensors"):
        raise ValueError(f"{value!r} is not the name of a shard")
    return str(value)
