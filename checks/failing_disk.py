"""A disk that is full, read-only, somebody else's or broken, at every call of apply, revert and repair: an error
with a hint, the old state or the new one, and nothing left that repair does not clear."""

import contextlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

from checks import sample_patches
from checks.changes import Cut, changes
from checks.copies import Copying, copying
from checks.crashes import LAYOUTS
from checks.faults import (
    CHANGING,
    GROWING,
    Disk,
    Fault,
    Killed,
    Kind,
    broken,
    forbidden,
    full_copy_on_write,
    full_disk,
    kill,
    read_only,
)
from editcore.patches.change.repairing import repair
from editcore.patches.checkpoint.journal import journal_path
from editcore_hooks import EditcoreError


@frozen
class Trouble:
    """A fault at calls of `kinds`; `passes`: the next call works again, so the program clears up itself."""

    name: str
    fault: Callable[[int], Fault]
    kinds: tuple[Kind, ...]
    passes: bool = False


TROUBLES: Final = (
    Trouble("full from then on", full_disk, GROWING),
    Trouble("full for a moment", lambda first: full_disk(first, lasting=False), GROWING, passes=True),
    # On a file system that writes new blocks for a name, also at the commit itself.
    Trouble("no room to rename", lambda first: full_copy_on_write(first, lasting=False), ("rename",), passes=True),
    Trouble("read-only from then on", read_only, CHANGING),
    Trouble("one call lost (EIO)", broken, (*CHANGING, "sync"), passes=True),
)


def run() -> list[str]:
    seen: Counter[str] = Counter()
    for _, sharded in LAYOUTS:
        with tempfile.TemporaryDirectory() as name:
            for change in changes(Path(name), sharded):
                seen += fail(change, Path(name))
                seen += fail_repair(change, Path(name))
            seen += fail_copy(copying(Path(name), sharded), Path(name))
    said = (
        f"{seen.total():,} failures of the disk: each reported with the next step, or silent where only a "
        "cache was lost; the folder loaded as the old state or the new one, and after `repair` every file was that of "
        "the state."
    )
    rows = [f"| {what} | {count} |" for what, count in sorted(seen.items())]
    return [said, "", "| what, at every call in turn | times |", "|---|---|", *rows]


def fail(change: Cut, place: Path, stride: int = 1) -> Counter[str]:
    """Let the disk fail under `change`, in every way at every `stride`th call; count what came of it."""
    seen: Counter[str] = Counter()
    for trouble, fault in _faults(change.source, change.act, place, stride):
        root = sample_patches.copy(change.source, place / "failing")
        said = _said(root, fault, change.act)
        state = change.state(root)
        if said is None:
            # What is a cache is given up silently, and what follows the last word of the change too.
            assert state == "new"
        elif "nothing has changed" in said:
            assert state == "old"
        else:
            assert "editcore repair" in said or (state == "new" and "the change itself is complete" in said), said
        if trouble.passes and not journal_path(root).exists():
            left = sample_patches.hashes(root).keys() - change.files[state == "new"].keys()
            assert not left, f"{trouble.name} at {fault.first}: {sorted(left)} was left over"
        repair(root)
        assert change.settled(root) == state
        seen[f"{trouble.name}: {'silent, ' if said is None else ''}{state} state"] += 1
        shutil.rmtree(root)
    return seen


def fail_repair(change: Cut, place: Path, stride: int = 1) -> Counter[str]:
    """Let the disk fail under the repair of `change`, cut short before and after its commit."""
    seen: Counter[str] = Counter()
    for number in (change.commit - 1, change.commit + 1):
        cut = sample_patches.copy(change.source, place / "cut")
        with contextlib.suppress(Killed), Disk(cut, kill(number)).mounted():
            change.act(cut)
        state = change.state(cut)
        for trouble, fault in _faults(cut, repair, place, stride):
            root = sample_patches.copy(cut, place / "failing")
            said = _said(root, fault, repair)
            assert said is not None, "repair reported nothing about a disk that failed"
            assert change.state(root) == state
            repair(root)
            assert change.settled(root) == state
            seen[f"{trouble.name}, in repair: {state} state"] += 1
            shutil.rmtree(root)
        shutil.rmtree(cut)
    return seen


def fail_copy(change: Copying, place: Path, stride: int = 1) -> Counter[str]:
    """Let the disk fail under `apply -o`."""
    seen: Counter[str] = Counter()
    for trouble, fault in _faults(change.source, change.act, place, stride):
        root = sample_patches.copy(change.source, place / "failing")
        said = _said(root, fault, change.act)
        state = change.state(root)
        assert state == ("new" if said is None or "the copy itself is complete" in said else "old"), said
        left = change.clear(root)
        assert not (left and trouble.passes and said is not None), f"{trouble.name} at {fault.first}: left something"
        seen[f"{trouble.name}, apply -o: {'silent, ' if said is None else ''}{state} state"] += 1
        shutil.rmtree(root)
    return seen


def _faults(source: Path, act: Callable[[Path], object], place: Path, stride: int) -> Iterator[tuple[Trouble, Fault]]:
    """Every trouble at every call that it can meet, and a folder in which nothing may be changed."""
    dry = sample_patches.copy(source, place / "dry")
    with Disk(dry).mounted() as disk:
        act(dry)
    shutil.rmtree(dry)
    for trouble in TROUBLES:
        met = [number for number, (kind, _) in enumerate(disk.calls) if kind in trouble.kinds]
        yield from ((trouble, trouble.fault(number)) for number in met[::stride])
    yield Trouble("somebody else's folder", lambda _: forbidden(), CHANGING), forbidden()


def _said(folder: Path, fault: Fault, act: Callable[[Path], object]) -> str | None:
    """The error with its hint, in one line; None without an error."""
    try:
        with Disk(folder, fault).mounted():
            act(folder)
    except EditcoreError as error:
        code, hint, said = error.exit_code, error.hint, str(error)
    else:
        return None
    assert (code, bool(hint), "\n" in said) == (1, True, False), f"exit code {code}: {said}"
    return said
