"""One change of a folder: planned once, announced only when it would be made, and made whole or not at all."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from checks import sample_patches
from editcore.applying import change as changing
from editcore.applying.change import Change
from editcore.patches.change import second_reading
from editcore.patches.change.plan import Plan, plan_change
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.shards import SINGLE
from editcore.patches.file.patch import Patch
from editcore.storage import lock
from editcore_hooks import ConflictError, EditcoreError, RefusedFileError, UsageError

KEY = sample_patches.KEYS[0]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return sample_patches.checkpoint(tmp_path / "model")


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the patches that observers were told of."""
    told: list[str] = []

    def announce(_: Checkpoint, patches: Sequence[Patch], *__: object) -> None:
        told.extend(patch.patch_id for patch in patches)

    monkeypatch.setattr(changing, "announce", announce)
    return told


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Every plan that is made."""
    made: list[Plan] = []

    def plan(*given: object, **more: object) -> Plan:
        made.append(plan_change(*given, **more))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(changing, "plan_change", plan)
    monkeypatch.setattr(second_reading, "plan_change", plan)
    return made


def made(root: Path, seed: int, form: str = "low_rank") -> Patch:
    return sample_patches.patch(root, {KEY: form}, seed=seed)


def test_looking_at_conflicts_and_committing_is_one_plan(
    root: Path, tmp_path: Path, announced: list[str], plans: list[Plan]
) -> None:
    one, two = made(root, 1), made(root, 2)
    change = Change.open(root, [one, two])
    decided = change.decided(change.conflicts(), "warn")
    decided.rehearse()
    copied = decided.commit_to_copy(tmp_path / "copy")
    applied = decided.commit()
    assert len(plans) == 1
    assert announced == [one.patch_id, two.patch_id] * 2
    assert copied == applied
    assert sample_patches.hashes(tmp_path / "copy") == sample_patches.hashes(root)
    before = Change.open(root, remove=[one.patch_id[:8]])
    assert before.removed == (one.patch_id,)
    assert before.commit().patch_ids == (two.patch_id,)
    assert len(plans) == 2
    assert len(announced) == 4  # taking off is not announced


def test_only_a_change_that_loses_a_patch_is_planned_again(root: Path, announced: list[str], plans: list[Plan]) -> None:
    one, bits = made(root, 1), made(root, 2, "replace")
    Change.open(root, [one]).commit()
    change = Change.open(root, [bits])
    conflicts = change.conflicts()
    with pytest.raises(ConflictError, match="cannot both be on"):
        change.decided(conflicts, "warn")
    with pytest.raises(ConflictError, match="excludes"):
        change.commit()
    last = change.decided(conflicts, "last-wins")
    assert (last.patches, last.removed) == ((bits,), (one.patch_id,))
    assert "is left out" in last.notices[0]
    assert last.commit().patch_ids == (bits.patch_id,)
    assert len(plans) == 3
    assert announced == [one.patch_id, bits.patch_id]


def test_patches_that_come_off_in_the_same_change_are_no_conflict(root: Path, announced: list[str]) -> None:
    one, bits = made(root, 1), made(root, 2, "replace")
    Change.open(root, [one]).commit()
    change = Change.open(root, [bits], [one.patch_id])
    assert change.conflicts() == []
    assert change.commit().patch_ids == (bits.patch_id,)
    assert announced[-1] == bits.patch_id


def _excluded(root: Path, place: Path) -> None:
    Change.open(root, [made(root, 1), made(root, 2, "replace")]).commit()


def _linked(root: Path, place: Path) -> None:
    change = Change.open(root, [made(root, 1)])
    (root / SINGLE).rename(place / "weights")
    (root / SINGLE).symlink_to(place / "weights")
    Change.open(root, change.patches).commit()


def _occupied(root: Path, place: Path) -> None:
    (place / "copy").mkdir()
    (place / "copy" / "mine").write_text("mine")
    Change.open(root, [made(root, 1)]).commit_to_copy(place / "copy")


@pytest.mark.parametrize(
    ("act", "error"), [(_excluded, ConflictError), (_linked, RefusedFileError), (_occupied, UsageError)]
)
def test_nothing_is_announced_that_would_be_refused(
    root: Path,
    tmp_path: Path,
    announced: list[str],
    act: Callable[[Path, Path], None],
    error: type[EditcoreError],
) -> None:
    with pytest.raises(error):
        act(root, tmp_path)
    assert announced == []


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ConflictError("no")])
def test_an_observer_that_stops_a_change_leaves_the_folder_and_no_copy(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    def announce(*_: object) -> None:
        raise raised

    monkeypatch.setattr(changing, "announce", announce)
    before = sample_patches.hashes(root)
    change = Change.open(root, [made(root, 1)])
    for commit in (change.commit, lambda: change.commit_to_copy(tmp_path / "copy")):
        with pytest.raises((KeyboardInterrupt, ConflictError)):
            commit()
    assert sample_patches.hashes(root) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_writer_at_work_is_waited_for(root: Path, announced: list[str]) -> None:
    change = Change.open(root, [made(root, 1)])
    with lock.writing(root), pytest.raises(ConflictError, match="another editcore is writing"):
        change.commit()
    assert change.commit().patch_ids == tuple(set(announced))
