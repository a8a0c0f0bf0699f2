"""A patched copy: the source untouched, the copy whole or not there."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from editcore.patches import (
    Checkpoint,
    Patch,
    apply_on_disk,
    apply_to_copy,
    copy_checkpoint,
    lock,
    revert_on_disk,
    verify,
)
from editcore_hooks import ConflictError, EditcoreError, UsageError, WrongBaseError

Folder = Callable[..., Path]
Tree = Callable[[Path], dict[str, str]]
Make = Callable[..., Patch]
KEY = "transformer.h.0.mlp.c_proj.weight"


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
    blobs = folder("gpt2")
    snapshot = tmp_path / "models--owner--name" / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(path)
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
    assert copy.other_weights == ()
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
    from editcore.patches import durable

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    source = folder("gpt2")
    before = tree(tmp_path)
    monkeypatch.setattr(durable, "copy_new", full)
    with pytest.raises(EditcoreError, match="No space left"):
        copy_checkpoint(source, tmp_path / "copy")
    assert tree(tmp_path) == before
