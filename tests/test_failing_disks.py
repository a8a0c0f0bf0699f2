"""Whatever the disk does at whatever call, a folder is in the old state or the new one, and repair clears the rest."""

import contextlib
import errno
from pathlib import Path

import pytest

from checks import crashes, failing_disk, sample_patches
from checks.changes import NAMES, changes
from checks.copies import copying
from checks.faults import Disk, broken, full_copy_on_write, full_disk, read_only
from editcore.patches.change.ondisk import apply_on_disk
from editcore.patches.change.repairing import repair
from editcore_hooks import EditcoreError

LAYOUTS = pytest.mark.parametrize(
    "sharded", [pytest.param(False, id="single", marks=pytest.mark.thorough), pytest.param(True, id="sharded")]
)


@LAYOUTS
@pytest.mark.parametrize("name", NAMES)
def test_every_crash_leaves_the_old_state_or_the_new_one(tmp_path: Path, name: str, sharded: bool) -> None:
    (change,) = changes(tmp_path, sharded, (name,))
    seen = crashes.crash(change, tmp_path, {})
    assert seen.total() >= change.calls
    assert seen["old"] > change.commit
    assert seen["new"] > 0


@LAYOUTS
def test_every_crash_of_repair_is_repaired(tmp_path: Path, sharded: bool) -> None:
    for change in changes(tmp_path, sharded, ("apply a second", "revert all")):
        left: crashes.Leftovers = {}
        crashes.crash(change, tmp_path, left, stride=4)
        assert sum(crashes.crash_repair(change, tmp_path, folder, stride=2) for folder in left.values()) > 10


@LAYOUTS
def test_a_disk_that_fails_at_any_call_changes_nothing_or_all(tmp_path: Path, sharded: bool) -> None:
    for change in changes(tmp_path, sharded):
        seen = failing_disk.fail(change, tmp_path, stride=5)
        seen += failing_disk.fail_repair(change, tmp_path, stride=5)
        assert {what.partition(":")[0].partition(",")[0] for what in seen} > {t.name for t in failing_disk.TROUBLES}


@LAYOUTS
def test_a_copy_that_is_cut_short_or_fails_is_whole_or_not_there(tmp_path: Path, sharded: bool) -> None:
    change = copying(tmp_path, sharded)
    seen = crashes.crash_copy(change, tmp_path, stride=2)
    assert seen["old"] > seen["new"] > 0
    seen = failing_disk.fail_copy(change, tmp_path, stride=4)
    assert {what.partition(",")[0].partition(":")[0] for what in seen} > {t.name for t in failing_disk.TROUBLES}


@LAYOUTS
@pytest.mark.parametrize("name", ["apply", "revert one of two", "revert all"])
@pytest.mark.parametrize("lasting", [False, True], ids=["for a moment", "from then on"])
def test_a_disk_that_is_full_exactly_at_the_commit(tmp_path: Path, name: str, lasting: bool, sharded: bool) -> None:
    (change,) = changes(tmp_path, sharded, (name,))
    for number, state in ((change.commit, "old"), (change.commit + 1, "new")):
        root = sample_patches.copy(change.source, tmp_path / f"full at {number}")
        with Disk(root, full_copy_on_write(number, lasting)).mounted() as disk:
            if number == change.commit:
                with pytest.raises(EditcoreError, match=r"No space left on device.*make room"):
                    change.act(root)
            else:
                with contextlib.suppress(EditcoreError):
                    change.act(root)
        assert disk.calls[change.commit][0] == "rename"
        assert change.state(root) == state
        repair(root)
        assert change.settled(root) == state
        if state == "old":  # with room again it goes through
            change.act(root)
            assert change.settled(root) == "new"


def test_a_full_disk_and_a_read_only_one_say_what_to_do(tmp_path: Path) -> None:
    root = sample_patches.checkpoint(tmp_path / "model")
    before, patch = sample_patches.hashes(root), sample_patches.patch(root, {sample_patches.KEYS[0]: "low_rank"})
    for fault, what, todo in ((full_disk(9), errno.ENOSPC, "make room"), (read_only(0), errno.EROFS, "make it writ")):
        with Disk(root, fault).mounted(), pytest.raises(EditcoreError, match="nothing has changed") as caught:
            apply_on_disk(root, [patch])
        assert caught.value.__cause__ is not None
        assert caught.value.__cause__.errno == what  # type: ignore[attr-defined]
        assert todo in str(caught.value)
        assert sample_patches.hashes(root) == before


def test_a_folder_that_could_not_be_synced_is_not_left_over(tmp_path: Path) -> None:
    root = sample_patches.checkpoint(tmp_path / "model")
    patch = sample_patches.patch(root, {sample_patches.KEYS[0]: "low_rank"})
    with Disk(root, broken(1)).mounted() as disk, pytest.raises(EditcoreError, match="nothing has changed"):
        apply_on_disk(root, [patch])
    assert disk.calls[:2] == [("make folder", ".editcore"), ("sync", ".")]
    assert not (root / ".editcore").exists()


def test_a_write_past_the_seam_would_be_seen(tmp_path: Path) -> None:
    with Disk(tmp_path).mounted() as disk, pytest.raises(AssertionError, match="written past"):
        (tmp_path / "x").write_text("x")
    assert disk.calls == []
