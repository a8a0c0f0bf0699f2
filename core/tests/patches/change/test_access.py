"""Who may read a model may read what editcore makes of it, and nobody else."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from editcore.patches.change.copying import apply_to_copy, copy_checkpoint
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.file.patch import Patch
from editcore.storage import durable

Folder = Callable[..., Path]
Make = Callable[..., Patch]
KEY = "model.layers.0.mlp.down_proj.weight"


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_mode & 0o777 for path in (root, *root.rglob("*"))}


@pytest.mark.parametrize("sharded", [False, True])
def test_what_is_kept_of_private_weights_is_private(folder: Folder, make_patch: Make, sharded: bool) -> None:
    root = folder("llama", torch.bfloat16, sharded)
    root.chmod(0o700)
    for path in root.glob("*.safetensors"):
        path.chmod(0o600)
    before, patch = modes(root), make_patch(root, KEY)
    apply_on_disk(root, [patch])
    found = modes(root)
    folders = {name for name in found if (root / name).is_dir()}
    assert folders == {".", ".editcore", ".editcore/patches", ".editcore/originals"}
    assert {found[name] for name in folders} == {0o700}
    private = [name for name in found if name.endswith((".safetensors", ".raw", "editcore.json"))]
    assert len(private) >= 4
    assert {found[name] for name in private} == {0o600}
    revert_on_disk(root, [patch.patch_id])
    assert modes(root) == before


def test_a_copy_has_the_modes_of_its_source(folder: Folder, make_patch: Make, tmp_path: Path) -> None:
    source = folder("llama", torch.bfloat16, True)
    (source / "notes").mkdir(0o750)
    (source / "config.json").chmod(0o640)
    for path in source.glob("*.safetensors"):
        path.chmod(0o600)
    source.chmod(0o710)
    assert modes(copy_checkpoint(source, tmp_path / "copy").folder) == modes(source)
    patched, _ = apply_to_copy(source, tmp_path / "patched", [make_patch(source, KEY)])
    assert patched.file(KEY).stat().st_mode & 0o777 == 0o600
    source.chmod(0o500)  # a copy of what nobody can write in belongs to who made it
    assert copy_checkpoint(source, tmp_path / "own").folder.stat().st_mode & 0o777 == 0o700


def test_nobody_can_read_a_private_file_while_it_is_written(tmp_path: Path) -> None:
    seen = []

    def chunks() -> Iterator[bytes]:
        seen.append((tmp_path / "x").stat().st_mode & 0o777)
        yield b"1"

    status = tmp_path.stat()
    durable.write_new(tmp_path / "x", chunks(), durable.Access(0o644, status.st_uid, status.st_gid))
    assert seen == [0o600]
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(("user", "given"), [(0, 4321), (1000, -1)])
def test_root_keeps_the_owner_and_others_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, given: int
) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "chown", lambda target, uid, gid: calls.append((uid, gid)))
    access = durable.Access(0o640, 4321, 8765)
    durable.write_new(tmp_path / "x", [b"1"], access)
    durable.make_folder(tmp_path / "folder", access)
    assert calls == [(given, 8765)] * 2
    status = tmp_path.stat()
    durable.write_new(tmp_path / "y", [b"1"], durable.Access(0o640, status.st_uid, status.st_gid))
    assert len(calls) == 2


def test_a_user_who_is_not_in_the_group_is_not_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    durable.write_new(tmp_path / "x", [b"1"], durable.Access(0o640, 4321, 8765))
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_as_root_shards_originals_and_copies_stay_with_their_user(
    folder: Folder, make_patch: Make, tmp_path: Path
) -> None:
    root = folder("llama", torch.bfloat16, True)
    for path in (root, *root.iterdir()):
        os.chown(path, 4321, 8765)
    patch = make_patch(root, KEY)
    apply_on_disk(root, [patch])
    copy = copy_checkpoint(root, tmp_path / "copy").folder
    for folder_ in (root, copy):
        assert {(path.stat().st_uid, path.stat().st_gid) for path in (folder_, *folder_.rglob("*"))} == {(4321, 8765)}
    revert_on_disk(root, [patch.patch_id])
    assert {path.stat().st_uid for path in (root, *root.rglob("*"))} == {4321}
    assert Checkpoint.open(root).patch_ids == ()
