"""A patched copy: the source untouched, the copy whole or not there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from checks.faults import Disk
from editcore.patches.change.copying import apply_to_copy, copy_checkpoint, staged_copy
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.patches.change.repairing import Repaired, repair
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.stack import stack_hash
from editcore.patches.compare.verification import verify
from editcore.patches.file.patch import Patch
from editcore.storage import lock
from editcore_hooks import ConflictError, EditcoreError, UsageError, WrongBaseError

Folder = Callable[..., Path]
Tree = Callable[[Path], dict[str, str]]
Make = Callable[..., Patch]
KEY, DOWN = "transformer.h.0.mlp.c_proj.weight", "model.layers.0.mlp.down_proj.weight"


def test_a_copy_has_the_same_files(folder: Folder, tree: Tree, tmp_path: Path) -> None:
    for sharded in (False, True):
        source = folder("llama", torch.bfloat16, sharded)
        copy = copy_checkpoint(source, tmp_path / f"copy{sharded}")
        assert tree(copy.folder) == tree(source)


def test_a_copy_takes_its_patches_along(folder: Folder, tree: Tree, make_patch: Make, tmp_path: Path) -> None:
    source = folder("gpt2")
    plain = tree(source)
    patch = make_patch(source, KEY)
    apply_on_disk(source, [patch])
    copy = copy_checkpoint(source, tmp_path / "copy")
    assert copy.patch_ids == (patch.patch_id,)
    assert verify(copy.folder).problems == ()
    revert_on_disk(copy.folder, [patch.patch_id])
    assert tree(copy.folder) == plain


def test_patches_go_on_the_copy_and_not_on_the_source(
    folder: Folder, tree: Tree, make_patch: Make, tmp_path: Path
) -> None:
    source = folder("gpt2")
    before = tree(source)
    patch = make_patch(source, KEY)
    copy, applied = apply_to_copy(source, tmp_path / "copy", [patch])
    assert applied is not None
    assert applied.patch_ids == (patch.patch_id,)
    assert copy.sha256(KEY) == applied.result_sha256[KEY]
    assert tree(source) == before


def test_links_of_a_download_cache_become_files(folder: Folder, make_patch: Make, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--owner--name" / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    blobs = folder("gpt2").rename(snapshot.parent.parent / "blobs")
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(Path("..", "..", "blobs", path.name))
    copy, _ = apply_to_copy(snapshot, tmp_path / "copy", [make_patch(snapshot, KEY)])
    assert not any(path.is_symlink() for path in copy.folder.rglob("*"))
    assert Checkpoint.open(snapshot).patch_ids == ()


def test_weights_that_no_patch_reaches_stay_behind(folder: Folder, tmp_path: Path) -> None:
    source = folder("gpt2")
    (source / "pytorch_model.bin").write_bytes(b"\x80")
    (source / "onnx").mkdir()
    (source / "onnx" / "model.onnx").write_bytes(b"x")
    (source / "onnx" / "README.md").write_text("kept")
    copy = copy_checkpoint(source, tmp_path / "copy")
    assert not (copy.folder / "pytorch_model.bin").exists()
    assert [path.name for path in (copy.folder / "onnx").iterdir()] == ["README.md"]


@pytest.mark.parametrize("case", ["occupied", "file", "no parent", "inside"])
def test_a_destination_that_cannot_be_meant_is_refused(folder: Folder, tree: Tree, tmp_path: Path, case: str) -> None:
    source = folder("gpt2")
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    places = {"no parent": tmp_path / "a" / "b", "inside": source / "copy"}
    before = tree(tmp_path)
    with pytest.raises(UsageError):
        copy_checkpoint(source, places.get(case, tmp_path / case))
    assert tree(tmp_path) == before


def test_an_empty_destination_is_used(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    copy_checkpoint(folder("gpt2"), tmp_path / "copy")


def test_a_patch_that_is_refused_leaves_no_copy(folder: Folder, tree: Tree, make_patch: Make, tmp_path: Path) -> None:
    source = folder("gpt2", torch.bfloat16)
    patch = make_patch(folder("gpt2"), KEY)
    before = tree(tmp_path)
    with pytest.raises(WrongBaseError):
        apply_to_copy(source, tmp_path / "copy", [patch])
    assert tree(tmp_path) == before


def test_a_source_that_is_being_written_is_refused(folder: Folder, tmp_path: Path) -> None:
    source = folder("gpt2")
    with lock.writing(source), pytest.raises(ConflictError, match="another editcore is writing"):
        copy_checkpoint(source, tmp_path / "copy")


def test_a_full_disk_leaves_no_copy(
    folder: Folder, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from editcore.storage import durable

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    source = folder("gpt2")
    before = tree(tmp_path)
    monkeypatch.setattr(durable, "copy_new", full)
    with pytest.raises(EditcoreError, match="No space left"):
        copy_checkpoint(source, tmp_path / "copy")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("sharded", [False, True])
def test_a_patched_copy_owns_all_its_files_and_writes_each_once(
    folder: Folder, tree: Tree, make_patch: Make, tmp_path: Path, sharded: bool
) -> None:
    source = folder("llama", torch.bfloat16, sharded)
    before, size = tree(source), sum(path.stat().st_size for path in source.iterdir())
    patches = [make_patch(source, DOWN, seed=seed) for seed in range(3)]
    with Disk(tmp_path).mounted() as disk:
        copy, applied = apply_to_copy(source, tmp_path / "copy", patches)
    assert applied.patch_ids == tuple(patch.patch_id for patch in patches)
    for one in (source, copy.folder):
        assert not any(path.is_symlink() for path in one.rglob("*"))
    inodes = [{path.stat().st_ino for path in one.rglob("*") if path.is_file()} for one in (source, copy.folder)]
    assert not inodes[0] & inodes[1]
    assert {path.stat().st_nlink for path in source.iterdir()} == {1}
    assert tree(source) == before
    kept = sum(path.stat().st_size for path in (copy.folder / ".editcore").rglob("*") if path.is_file())
    journals = [name for kind, name in disk.calls if kind == "write" and "journal.json" in name]
    assert len(journals) == 2  # one change: before it, and before its commit
    assert disk.written < size + kept + 30_000  # the journal and the record of the stack

    in_place = Path(shutil.copytree(source, tmp_path / "in place"))
    apply_on_disk(in_place, patches)
    assert tree(copy.folder) == tree(in_place)


def test_what_a_killed_copy_left_goes_with_the_next_one_and_with_repair(folder: Folder, tmp_path: Path) -> None:
    source, out = folder("gpt2"), tmp_path / "out [1]"
    ours, others = tmp_path / ".out [1].0123456789ab.tmp", tmp_path / ".out.0123456789ab.tmp"
    for left in (ours, others):
        (left / "out [1]").mkdir(parents=True)
        (left / "out [1]" / "model.safetensors").write_bytes(b"half")
    copy_checkpoint(source, out)
    assert (ours.exists(), others.exists()) == (False, True)
    (ours / "out [1]").mkdir(parents=True)
    assert repair(out) == Repaired("cleared", (ours.name,))
    shutil.rmtree(out)
    (ours / "out [1]").mkdir(parents=True)
    assert repair(out) == Repaired("cleared", (ours.name,))
    with pytest.raises(UsageError, match="no folder"):
        repair(out)


def test_a_copy_that_is_being_made_is_left_alone(folder: Folder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with staged_copy(folder("gpt2"), out) as staged:
        with pytest.raises(UsageError, match="no folder"):
            repair(out)
        assert (staged / "model.safetensors").exists()
    assert Checkpoint.open(out).patch_ids == ()


def test_notices_of_a_copy_name_it_and_not_the_hidden_folder(folder: Folder, make_patch: Make, tmp_path: Path) -> None:
    source = folder("gpt2")
    patch = make_patch(source, KEY, about={"computed_on": stack_hash(["0" * 64])})
    _, applied = apply_to_copy(source, tmp_path / "copy", [patch])
    (notice,) = applied.notices
    assert f"editcore eval {tmp_path / 'copy'} --cases FILE" in notice
