"""What other programs and people put beside the files of a folder stays, and stops nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from editcore.patches.change.copying import apply_to_copy, copy_checkpoint, left_out
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.patches.change.repairing import repair
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.stack import Stack
from editcore.patches.file.patch import Patch
from editcore_hooks import RefusedFileError

Folder = Callable[..., Path]
Tree = Callable[[Path], dict[str, str]]
Make = Callable[..., Patch]
KEY = "model.layers.0.mlp.down_proj.weight"


def test_a_folder_that_only_looks_like_a_place_of_ours_stays(folder: Folder, tmp_path: Path) -> None:
    notes = tmp_path / ".out.my-notes.tmp"
    inside = tmp_path / ".out.0123456789ab.tmp"  # the right name, and something that no copy makes
    for mine in (notes, inside):
        mine.mkdir()
        (mine / "mine.txt").write_text("mine")
    copy_checkpoint(folder("gpt2"), tmp_path / "out")
    repair(tmp_path / "out")
    assert [(mine / "mine.txt").read_text() for mine in (notes, inside)] == ["mine", "mine"]


@pytest.mark.parametrize("sharded", [False, True])
def test_what_is_not_ours_in_the_record_stays_and_stops_nothing(
    folder: Folder, make_patch: Make, sharded: bool
) -> None:
    root = folder("llama", torch.bfloat16, sharded)
    before = {path.name: path.read_bytes() for path in root.iterdir()}
    places = (
        ".editcore/originals/@eaDir", ".editcore/patches/.ipynb_checkpoints", ".editcore/@eaDir",
        f".editcore/originals/{'a' * 64}.raw", f".editcore/patches/.{'b' * 64}.safetensors.0123456789ab.tmp",
    )  # fmt: skip
    files = (
        ".editcore/originals/notes.txt", ".editcore/patches/mine.safetensors", ".editcore/originals/.mine.tmp",
        ".editcore.json.backup.tmp", ".editcore/.nfs0123",
    )  # fmt: skip
    for place in places:
        (root / place).mkdir(parents=True)
        (root / place / "thumbnail").write_text("mine")
    for name in files:
        (root / name).write_text("mine")
    one, two = make_patch(root, KEY, seed=1), make_patch(root, KEY, seed=2)
    apply_on_disk(root, [one])
    apply_on_disk(root, [two])
    assert repair(root).action == "nothing"
    revert_on_disk(root, [one.patch_id])
    assert revert_on_disk(root, [two.patch_id]).patch_ids == ()
    assert repair(root).action == "nothing"
    assert Checkpoint.open(root).patch_ids == ()
    assert all((root / place / "thumbnail").read_text() == "mine" for place in places)
    assert all((root / name).read_text() == "mine" for name in files)
    assert {name: (root / name).read_bytes() for name in before} == before
    assert not (root / "editcore.json").exists()


# Links, when a folder is copied.


def test_links_that_leave_a_folder_are_not_followed_and_said(folder: Folder, make_patch: Make, tmp_path: Path) -> None:
    source, secrets = folder("llama"), tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "id_rsa").write_text("secret")
    (source / "notes.md").symlink_to(secrets / "id_rsa")
    (source / "extra").symlink_to(secrets)
    (source / "gone").symlink_to(tmp_path / "nowhere")
    (source / "part").mkdir()
    (source / "part" / "up").symlink_to(source)
    (source / "part" / "LICENSE").symlink_to(source / "config.json")
    (source / "same").symlink_to("part")
    copy, applied = apply_to_copy(source, tmp_path / "out", [make_patch(source, KEY)])
    names = {str(path.relative_to(copy.folder)) for path in copy.folder.rglob("*")}
    assert not names & {"notes.md", "extra", "gone", "part/up", "same/up"}
    assert names >= {"part/LICENSE", "same/LICENSE"}
    assert not any(path.is_symlink() for path in copy.folder.rglob("*"))
    assert (copy.folder / "same" / "LICENSE").read_bytes() == (source / "config.json").read_bytes()
    said = [notice for notice in applied.notices if "not copied" in notice]
    assert said == list(left_out(source))
    assert [any(name in line for line in said) for name in ("notes.md", "extra", "gone", "up")] == [True] * 4


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", ".editcore", "editcore.json"])
def test_a_copy_that_would_lack_what_it_needs_is_refused(
    folder: Folder, make_patch: Make, tmp_path: Path, name: str
) -> None:
    source = folder("llama")
    apply_on_disk(source, [make_patch(source, KEY)])
    (source / name).rename(tmp_path / "elsewhere")
    (source / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedFileError, match=rf"{name} is a link to .*, outside the folder") as caught:
        copy_checkpoint(source, tmp_path / "out")
    assert "cp -rL" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()


def test_a_link_to_a_snapshot_is_the_snapshot(folder: Folder, make_patch: Make, tree: Tree, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--owner--name" / "snapshots" / ("c" * 40)
    snapshot.parent.mkdir(parents=True)
    folder("llama").rename(snapshot)
    link = tmp_path / "mylink"
    link.symlink_to(snapshot)
    before, patch = tree(snapshot), make_patch(link, KEY)
    assert (patch.annotation("base")["name"], patch.annotation("base")["revision"]) == ("tiny", "c" * 40)
    with pytest.raises(RefusedFileError, match="belongs to a download cache"):
        apply_on_disk(link, [patch])
    assert tree(snapshot) == before


# Names that are almost too long, and records of other versions.


def test_a_shard_with_a_name_of_250_characters_is_patched_and_comes_back(
    folder: Folder, make_patch: Make, tree: Tree
) -> None:
    root = folder("llama", torch.float32, True)
    old = Checkpoint.open(root).file(KEY).name
    new = "é" * 100 + "x" * 38 + ".safetensors"
    (root / old).rename(root / new)
    index = root / "model.safetensors.index.json"
    index.write_text(index.read_text().replace(old, new), encoding="utf-8")
    before, patch = tree(root), make_patch(root, KEY)
    apply_on_disk(root, [patch])
    assert len(Checkpoint.open(root).file(KEY).name.encode()) <= 255
    assert repair(root).action == "nothing"
    revert_on_disk(root, [patch.patch_id])
    assert tree(root) == before


@pytest.mark.parametrize("name", ["x" * 300 + ".safetensors", "..", "", "a/b.safetensors", "a\\b.safetensors", 5])
def test_an_index_that_names_no_file_is_refused(folder: Folder, name: object) -> None:

    root = folder("llama", torch.float32, True)
    index = root / "model.safetensors.index.json"
    document = json.loads(index.read_text())
    document["weight_map"][KEY] = name
    index.write_text(json.dumps(document))
    with pytest.raises(RefusedFileError, match="which is not a file of its folder"):
        Checkpoint.open(root)


@pytest.mark.parametrize("version", ["1.9", "1.", "1", "2.0", 1.0, None])
def test_a_record_of_another_version_is_refused_and_not_rewritten(
    folder: Folder, make_patch: Make, tree: Tree, version: object
) -> None:

    root = folder("gpt2")
    patch = make_patch(root, "transformer.h.0.mlp.c_proj.weight")
    apply_on_disk(root, [patch])
    record = json.loads((root / "editcore.json").read_text())
    record |= {"format_version": version, "new": {"field": 1}}
    (root / "editcore.json").write_text(json.dumps(record))
    before = tree(root)
    with pytest.raises(RefusedFileError, match="does not read"):
        revert_on_disk(root, [patch.patch_id])
    assert tree(root) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("file", ".."),
        ("file", ""),
        ("file", 5),
        ("dtype", 5),
        ("shape", ["64", 16]),
        ("shape", [64.0, 16]),
        ("patches", []),
    ],
)
def test_a_record_with_odd_fields_is_refused(folder: Folder, make_patch: Make, field: str, value: object) -> None:
    root, key = folder("gpt2"), "transformer.h.0.mlp.c_proj.weight"
    apply_on_disk(root, [make_patch(root, key)])
    document = Checkpoint.open(root).stack.as_json()
    document["targets"][key][field] = value
    with pytest.raises(RefusedFileError, match="is damaged"):
        Stack.from_json(document, "editcore.json")
