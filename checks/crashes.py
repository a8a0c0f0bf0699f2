"""Crash points, all of them: apply, revert and repair cut short before every call that changes the disk, and half-way
through every write."""

import contextlib
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from checks import sample_patches
from checks.changes import Cut, changes
from checks.copies import Copying, copying
from checks.faults import Disk, Killed, kill
from editcore.patches.change.repairing import current_stack, repair
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.journal import journal_path
from editcore_hooks import RefusedFileError

Leftovers = dict[frozenset[tuple[str, str]], Path]
"""Each way in which a crash leaves a folder, once: what repair gets to see."""
LAYOUTS: Final = (("single file", False), ("sharded", True))


def run() -> list[str]:
    rows = ["| change | layout | crash points | left old | left new | reads meanwhile | of repair |"]
    rows.append("|---|---|---|---|---|---|---|")
    points = 0
    for layout, sharded in LAYOUTS:
        with tempfile.TemporaryDirectory() as name:
            for change in changes(Path(name), sharded):
                left: Leftovers = {}
                seen = crash(change, Path(name), left)
                of_repair = sum(crash_repair(change, Path(name), folder) for folder in left.values())
                points += seen.total() + of_repair
                counts = f"{seen.total()} | {seen['old']} | {seen['new']} | {change.reads} | {of_repair}"
                rows.append(f"| {change.name} | {layout} | {counts} |")
            seen = crash_copy(copying(Path(name), sharded), Path(name))
            points += seen.total()
            rows.append(f"| apply -o, two at once | {layout} | {seen.total()} | {seen['old']} | {seen['new']} | | |")
    said = (
        f"{points:,} crash points: the folder loaded as the old state or the new one, `repair` cleared the rest to the "
        "byte, the base could be read. Readers before every call saw one state. `apply -o` left its source unchanged "
        "and a complete copy or none."
    )
    return [said, "", *rows]


def crash(change: Cut, place: Path, left: Leftovers, stride: int = 1) -> Counter[str]:
    """Cut `change` short at every `stride`th point; count the states that come out, and collect what was left."""
    seen: Counter[str] = Counter()
    for torn in (False, True):
        for number in range(0, change.calls, stride):
            root = sample_patches.copy(change.source, place / "crashed")
            disk = Disk(root, kill(number, torn))
            with contextlib.suppress(Killed), disk.mounted():
                change.act(root)
            if torn and disk.calls[number][0] != "write":
                shutil.rmtree(root)
                continue
            state = change.state(root)
            ids = current_stack(root).patch_ids
            assert not journal_path(root).exists() or _is_refused(root), f"opened after call {number}"
            if (signature := _signature(root)) not in left:
                left[signature] = sample_patches.copy(root, place / f"left by {change.name} {len(left)}")
            repair(root)
            assert change.settled(root) == state, f"repair after call {number} left another state"
            assert Checkpoint.open(root).patch_ids == ids
            assert repair(root).action == "nothing"
            seen[state] += 1
            shutil.rmtree(root)
    return seen


def crash_copy(change: Copying, place: Path, stride: int = 1) -> Counter[str]:
    """Cut `apply -o` short at every `stride`th point; count the states that come out."""
    seen: Counter[str] = Counter()
    for torn in (False, True):
        for number in range(0, change.calls, stride):
            root = sample_patches.copy(change.source, place / "crashed")
            disk = Disk(root, kill(number, torn))
            with contextlib.suppress(Killed), disk.mounted():
                change.act(root)
            if not torn or disk.calls[number][0] == "write":
                state = change.state(root)
                if state == "old" and number % 2:  # the next one clears as well
                    change.act(root)
                    assert change.state(root) == "new"
                    assert not change.clear(root)
                else:
                    change.clear(root)
                seen[state] += 1
            shutil.rmtree(root)
    return seen


def crash_repair(change: Cut, place: Path, folder: Path, stride: int = 1) -> int:
    """Cut the repair of `folder` short at every `stride`th point, then repair; return the number of points."""
    dry = sample_patches.copy(folder, place / "repaired")
    with Disk(dry).mounted() as counted:
        repair(dry)
    shutil.rmtree(dry)
    state = change.state(folder)
    for number in range(0, len(counted.calls), stride):
        root = sample_patches.copy(folder, place / "repairing")
        with contextlib.suppress(Killed), Disk(root, kill(number)).mounted():
            repair(root)
        assert change.state(root) == state
        repair(root)
        assert change.settled(root) == state
        shutil.rmtree(root)
    return len(range(0, len(counted.calls), stride))


def _is_refused(folder: Path) -> bool:
    """Whether opening says that the folder is to be repaired first."""
    try:
        Checkpoint.open(folder)
    except RefusedFileError as error:
        return "editcore repair" in str(error)
    return False


def _signature(folder: Path) -> frozenset[tuple[str, str]]:
    """The content of a folder, without the random names of temporary files."""
    return frozenset(
        (re.sub(r"[0-9a-f]{12}\.tmp", "tmp", name), sha) for name, sha in sample_patches.hashes(folder).items()
    )
