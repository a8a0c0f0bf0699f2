"""A stack written down and put on a clean base again: same hashes, and refusals for all that is not the same."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from editcore.patches.change.ondisk import apply_on_disk
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.exchange.stack_export import read_export, write_export
from editcore.patches.file.patch import Patch
from editcore_hooks import ConflictError, RefusedFileError, UsageError, WrongBaseError

Folder = Callable[..., Path]
Make = Callable[..., Patch]
KEYS = ["transformer.h.0.mlp.c_proj.weight", "transformer.h.1.mlp.c_proj.weight"]


@pytest.fixture
def stacked(folder: Folder, make_patch: Make) -> Path:
    root = folder("gpt2")
    for patch in (make_patch(root, KEYS[0], seed=5), make_patch(root, *KEYS, seed=1), make_patch(root, KEYS[1])):
        apply_on_disk(root, [patch])
    return root


def test_an_exported_stack_gives_the_same_bits_on_a_clean_base(stacked: Path, folder: Folder, tmp_path: Path) -> None:
    written = write_export(Checkpoint.open(stacked), tmp_path / "s.json")
    clean = folder("gpt2")
    written.require_clean(Checkpoint.open(clean))
    again = apply_on_disk(clean, read_export(tmp_path / "s.json").load())
    assert again.patch_ids == written.patch_ids == Checkpoint.open(stacked).patch_ids
    assert again.stack_hash == written.hash
    assert written.other_bits(again.result_sha256) == ()
    assert written.other_bits({**again.result_sha256, KEYS[0]: "0" * 64}) == (KEYS[0],)


def test_an_export_can_be_moved_and_holds_no_path(stacked: Path, tmp_path: Path) -> None:
    write_export(Checkpoint.open(stacked), tmp_path / "s.json")
    (tmp_path / "there").mkdir()
    for name in ("s.json", "s.patches"):
        shutil.move(tmp_path / name, tmp_path / "there" / name)
    assert len(read_export(tmp_path / "there" / "s.json").load()) == 3
    assert str(tmp_path) not in (tmp_path / "there" / "s.json").read_text()


def test_a_base_that_is_patched_or_another_is_refused(stacked: Path, folder: Folder, tmp_path: Path) -> None:
    written = write_export(Checkpoint.open(stacked), tmp_path / "s.json")
    with pytest.raises(ConflictError, match="carries patches"):
        written.require_clean(Checkpoint.open(stacked))
    with pytest.raises(WrongBaseError, match="expected weights root"):
        written.require_clean(Checkpoint.open(folder("gpt2", torch.bfloat16)))


def test_nothing_is_overwritten_and_an_empty_stack_is_refused(stacked: Path, folder: Folder, tmp_path: Path) -> None:
    write_export(Checkpoint.open(stacked), tmp_path / "s.json")
    with pytest.raises(UsageError, match="exists"):
        write_export(Checkpoint.open(stacked), tmp_path / "s.json")
    with pytest.raises(UsageError, match="carries no patches"):
        write_export(Checkpoint.open(folder("gpt2")), tmp_path / "t.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(format="other"),
        lambda d: d["patches"].pop(),
        lambda d: d["patches"][0].update(file="../outside.safetensors"),
        lambda d: d["patches"][0].update(file="/outside.safetensors"),
        lambda d: d["base"].pop("weights_root"),
    ],
)
def test_a_changed_export_is_refused(stacked: Path, tmp_path: Path, change: Callable[[dict], object]) -> None:
    write_export(Checkpoint.open(stacked), tmp_path / "s.json")
    document = json.loads((tmp_path / "s.json").read_text())
    change(document)
    (tmp_path / "s.json").write_text(json.dumps(document))
    with pytest.raises(RefusedFileError):
        read_export(tmp_path / "s.json")


def test_a_patch_put_in_the_place_of_another_is_refused(stacked: Path, tmp_path: Path) -> None:
    written = write_export(Checkpoint.open(stacked), tmp_path / "s.json")
    one, two, _ = written.files.values()
    shutil.copy(one, two)
    with pytest.raises(RefusedFileError, match=r"names .* there"):
        read_export(tmp_path / "s.json").load()
