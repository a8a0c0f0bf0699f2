"""A plan made before the lock is used under it only where the folder is still the one that was planned on."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from editcore.patches.change import copying, ondisk, second_reading
from editcore.patches.change.plan import Plan, plan_change
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.identity import base_identity
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import StoredUpdate
from editcore_hooks import ConflictError, UsageError, WrongBaseError

Folder = Callable[..., Path]
Tree = Callable[[Path], dict[str, str]]
Make = Callable[..., Patch]
KEY, OTHER = "model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight"


@pytest.fixture
def planned_again(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders on which a change was planned a second time."""
    folders: list[Path] = []

    def plan(checkpoint: Checkpoint, *given: object, **more: object) -> Plan:
        folders.append(checkpoint.folder)
        return plan_change(checkpoint, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(second_reading, "plan_change", plan)
    return folders


@pytest.mark.parametrize("sharded", [False, True])
def test_a_folder_that_stayed_the_same_is_planned_once_in_place_and_in_a_copy(
    folder: Folder, tree: Tree, make_patch: Make, tmp_path: Path, planned_again: list[Path], sharded: bool
) -> None:
    root = folder("llama", torch.float32, sharded)
    one, two = make_patch(root, KEY, seed=1), make_patch(root, OTHER, seed=2)
    ondisk.apply_on_disk(root, [one])
    plan = plan_change(Checkpoint.open(root), [two], [one.patch_id], strict=True)
    copying.commit_to_copy(plan, tmp_path / "copy")
    ondisk.commit(plan)
    assert planned_again == []
    assert tree(tmp_path / "copy") == tree(root)
    assert Checkpoint.open(root).patch_ids == (two.patch_id,)


def test_a_change_goes_on_top_of_what_another_writer_did_meanwhile(
    folder: Folder, tree: Tree, make_patch: Make, tmp_path: Path, planned_again: list[Path]
) -> None:
    root, direct = folder("llama"), folder("llama")
    one, two = make_patch(root, KEY, seed=1), make_patch(root, KEY, seed=2)
    plan = plan_change(Checkpoint.open(root), [two])
    ondisk.apply_on_disk(root, [one])
    ondisk.apply_on_disk(direct, [one, two])
    copying.commit_to_copy(plan, tmp_path / "copy")
    ondisk.commit(plan)
    assert planned_again == [root, root]  # by the copy under the lock of its source, and in place
    assert tree(root) == tree(direct) == tree(tmp_path / "copy")


def test_what_no_longer_fits_is_refused_under_the_lock(folder: Folder, tree: Tree, make_patch: Make) -> None:
    root = folder("llama")
    one, two = make_patch(root, KEY, seed=1), make_patch(root, KEY, seed=2)
    on = plan_change(Checkpoint.open(root), [one])
    ondisk.apply_on_disk(root, [one])
    off = plan_change(Checkpoint.open(root), [two], [one.patch_id])
    before = tree(root)
    with pytest.raises(ConflictError, match="is applied already"):
        ondisk.commit(on)
    assert tree(root) == before
    ondisk.revert_on_disk(root, [one.patch_id])
    with pytest.raises(UsageError, match="is not applied here"):
        ondisk.commit(off)
    assert Checkpoint.open(root).patch_ids == ()


def test_bytes_that_were_changed_in_place_under_their_old_times_are_seen(
    folder: Folder, make_patch: Make, planned_again: list[Path]
) -> None:
    root = folder("llama")
    plan = plan_change(opened := Checkpoint.open(root), [make_patch(root, KEY)])
    path, entry = opened.file(KEY), opened.entries[KEY]
    times = path.stat()
    with path.open("r+b") as file:
        file.seek(entry.start)
        file.write(b"\x01\x02\x03\x04")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(WrongBaseError, match="was made for"):
        ondisk.commit(plan)
    assert planned_again == [root]


def test_a_plan_made_to_look_at_conflicts_is_not_carried_out(folder: Folder, tree: Tree, make_patch: Make) -> None:
    root = folder("llama")
    opened = Checkpoint.open(root)
    stored = StoredUpdate("replace", {"stored": torch.zeros(16, 24)})
    bits = Target(stored, "F32", (16, 24), opened.base_sha256(KEY))
    clash = [make_patch(root, KEY), seal({KEY: bits}, base_identity(opened, "tiny"), {})]
    before = tree(root)
    with pytest.raises(ConflictError, match="excludes"):
        ondisk.commit(plan_change(opened, clash, shared=True))
    assert tree(root) == before
