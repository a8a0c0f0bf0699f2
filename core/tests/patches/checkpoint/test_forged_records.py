"""What a folder says of itself is computed and not believed, and no journal removes what is not ours."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from editcore.cli import main
from editcore.patches.arithmetic.rebuilding import rebuild
from editcore.patches.change import execution
from editcore.patches.change.copying import apply_to_copy
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.patches.change.repairing import repair
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.journal import Journal, journal_path, write_journal
from editcore.patches.checkpoint.stack import Stack
from editcore.patches.compare.verification import verify
from editcore.patches.exchange.squashing import squash
from editcore.patches.file.core import Core
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import Delta, StoredUpdate
from editcore.storage.tensors import blob_of
from editcore_hooks import ConflictError, EditcoreError, RefusedFileError, WrongBaseError

Folder = Callable[..., Path]
Tree = Callable[[Path], dict[str, str]]
Make = Callable[..., Patch]
KEY, OTHER = "model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight"
INDEX = "model.safetensors.index.json"


def flip_unseen(root: Path, key: str) -> None:
    """Change a tensor in a file that keeps its size, times and inode."""
    opened = Checkpoint.open(root)
    path, entry = opened.file(key), opened.entries[key]
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(entry.start)
        first = file.read(1)[0]
        file.seek(entry.start)
        file.write(bytes([first ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_another_shard_changed_with_its_size_and_time_is_told(folder: Folder, make_patch: Make, tree: Tree) -> None:
    root = folder("llama", torch.float32, True)
    one, two = make_patch(root, KEY, seed=1), make_patch(root, OTHER, seed=2)
    apply_on_disk(root, [one], strict=True)
    flip_unseen(root, OTHER)
    before = tree(root)
    with pytest.raises(WrongBaseError, match=OTHER):
        apply_on_disk(root, [two])
    assert tree(root) == before
    flip_unseen(root, OTHER)
    apply_on_disk(root, [two])
    revert_on_disk(root, [two.patch_id])


def test_what_changes_between_the_verdict_and_the_filing_is_told(
    folder: Folder, make_patch: Make, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder("llama")
    patch, before = make_patch(root, KEY), tree(root)
    monkeypatch.setattr(execution.Checkpoint, "read", lambda *args: b"other bytes")
    with pytest.raises(ConflictError, match="was changed while it was being patched"):
        apply_on_disk(root, [patch])
    assert tree(root) == before


def test_strict_believes_no_record_of_the_base(folder: Folder, make_patch: Make) -> None:
    root = folder("llama")
    one, two = make_patch(root, KEY, seed=1), make_patch(root, OTHER, seed=2)
    apply_on_disk(root, [one])
    (original,) = (root / ".editcore" / "originals").iterdir()
    kept = original.read_bytes()
    original.write_bytes(b"x" + kept[1:])
    with pytest.raises(RefusedFileError, match=f"original of {KEY} .* was changed"):
        apply_on_disk(root, [two], strict=True)
    original.write_bytes(kept)
    flip_unseen(root, KEY)
    with pytest.raises(RefusedFileError, match=f"{KEY} .* was changed after it was patched"):
        apply_on_disk(root, [two], strict=True)
    flip_unseen(root, KEY)
    record = json.loads((root / "editcore.json").read_text())
    record["base"]["weights_root"] = "0" * 64
    record["untouched"] = dict.fromkeys(Checkpoint.open(root).entries, "1" * 64)
    (root / "editcore.json").write_text(json.dumps(record))
    apply_on_disk(root, [two], strict=True)
    assert verify(root).problems == ()


def test_a_copy_believes_only_what_this_process_read(folder: Folder, make_patch: Make, tmp_path: Path) -> None:
    source = folder("llama", torch.float32, True)
    one, two = make_patch(source, KEY, seed=1), make_patch(source, OTHER, seed=2)
    apply_on_disk(source, [one], strict=True)
    flip_unseen(source, "model.norm.weight")
    with pytest.raises(WrongBaseError, match="expected weights root"):
        apply_to_copy(source, tmp_path / "out", [two], strict=True)


# Journals from elsewhere.


def forged(root: Path, **fields: Any) -> None:
    (root / ".editcore").mkdir(exist_ok=True)
    write_journal(root, Journal("prepare", f"{INDEX}.editcore.tmp", INDEX, Checkpoint.open(root).stack))
    document = json.loads(journal_path(root).read_text())
    journal_path(root).write_text(json.dumps({**document, **fields}))


ODD = {
    "another file": {"new_files": ["config.json"]},
    "another weight file": {"new_files": ["mine.safetensors"]},
    "the folder above": {"new_files": [".."]},
    "no name": {"old_files": [""]},
    "a path": {"old_files": ["../model.safetensors"]},
    "no list": {"old_files": 5},
    "another staged file": {"staged": "config.json"},
    "another final file": {"staged": "config.json.editcore.tmp", "final": "config.json"},
    "another version": {"format_version": "1.9"},
    "no stack": {"old": []},
    "shards of a single file": {
        "staged": "model.safetensors.editcore.tmp", "final": "model.safetensors", "new_files": ["model.safetensors"],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_a_journal_that_names_what_no_change_has_removes_nothing(
    folder: Folder, make_patch: Make, tree: Tree, name: str
) -> None:
    root = folder("llama", torch.float32, True)
    apply_on_disk(root, [make_patch(root, KEY)])
    (root / "mine.safetensors").write_bytes(b"mine")
    sound = tree(root)
    forged(root, **ODD[name])
    before = tree(root)
    with pytest.raises(RefusedFileError) as caught:
        repair(root)
    assert tree(root) == before
    # The way out that the hint names.
    assert f"remove {journal_path(root)} and run `editcore verify {root}`" in str(caught.value.hint)
    journal_path(root).unlink()
    assert main(["verify", str(root)]) == 0
    assert tree(root) == sound


def test_a_journal_of_other_patches_takes_no_original_away(folder: Folder, make_patch: Make, tree: Tree) -> None:
    root = folder("llama", torch.float32, True)
    patch = make_patch(root, KEY)
    apply_on_disk(root, [patch])
    for phase in ("prepare", "commit"):
        forged(root, old=Stack().as_json(), phase=phase)
        before = tree(root)
        with pytest.raises(RefusedFileError, match="starts from other patches"):
            repair(root)
        assert tree(root) == before
        journal_path(root).unlink()
    revert_on_disk(root, [patch.patch_id])


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 10**5, "\x00", "9" * 5000])
def test_a_journal_that_is_no_journal_has_a_way_out(folder: Folder, text: str) -> None:
    root = folder("gpt2")
    (root / ".editcore").mkdir()
    journal_path(root).write_text(text)
    with pytest.raises(RefusedFileError) as caught:
        repair(root)
    assert "remove" in str(caught.value.hint)
    journal_path(root).unlink()
    journal_path(root).mkdir()
    with pytest.raises(RefusedFileError, match="cannot read"):
        repair(root)


# Results that are refused only when they are computed.


def test_what_apply_refuses_is_refused_by_a_dry_run_and_by_verify(
    folder: Folder, make_patch: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder("llama", torch.float16)
    flipped = Path(shutil.copytree(root, tmp_path / "flipped"))
    flip_unseen(flipped, KEY)
    main(["extract", str(root), str(flipped), "--form", "xor", "-o", str(tmp_path / "fine.safetensors")])
    fine = Patch.load(tmp_path / "fine.safetensors")
    bits = fine.tensors[f"{KEY}/bits"].clone()
    stored = Checkpoint.open(root).read(KEY)
    bits.view(torch.int16)[0, 0] = int.from_bytes(stored[:2], "little", signed=True) ^ 0x7E00  # a NaN
    target = fine.targets[KEY]
    made = Target(StoredUpdate("xor", {"bits": bits}), "F16", target.shape, target.base_sha256)
    seal({KEY: made}, fine.annotation("base"), {}).save(tmp_path / "nan.safetensors")
    make_patch(root, KEY, form="dense", scale=1e9).save(tmp_path / "large.safetensors")
    capsys.readouterr()
    for name in ("nan", "large"):
        path = str(tmp_path / f"{name}.safetensors")
        assert main(["apply", path, "--model", str(root), "--in-place"]) == 6
        assert main(["apply", path, "--model", str(root), "--dry-run"]) == 6
        assert main(["verify", path, "--base", str(root)]) == 6
        capsys.readouterr()
        assert main(["verify", path]) == 0
        assert ("--base BASE" in capsys.readouterr().err) == (name == "nan")
    assert main(["verify", str(tmp_path / "fine.safetensors"), "--base", str(root)]) == 0
    assert main(["verify", str(tmp_path / "fine.safetensors"), "--base", str(flipped)]) == 3


def test_bits_do_not_depend_on_how_the_process_treats_small_numbers(folder: Folder, make_patch: Make) -> None:
    results = []
    for flush in (False, True):
        root = folder("llama", torch.float16)
        patch = make_patch(root, KEY, seed=1, scale=1e-6)  # results among the subnormal numbers of the dtype
        shrunk = torch.full((16, 24), 2.0**-140)
        tiny = torch.zeros(24, dtype=torch.float32)
        assert torch.set_flush_denormal(flush) or not flush
        try:
            results.append(apply_on_disk(root, [patch]).result_sha256[KEY])
            results.append(hashlib.sha256(_small_sum(shrunk, tiny)).hexdigest())
            assert not flush or float(torch.tensor([2.0**-140]) * 0.5) == 0  # the mode is as it was
        finally:
            torch.set_flush_denormal(False)
    assert results[:2] == results[2:]


def _small_sum(delta: torch.Tensor, base: torch.Tensor) -> bytes:
    return blob_of(rebuild(base.repeat(16, 1), [Delta("dense", {"delta": delta})])).data


# One patch, twice.


def test_a_patch_inside_a_squash_is_there_already(
    folder: Folder, make_patch: Make, tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder("llama")
    a, b, c = (make_patch(root, KEY, seed=seed) for seed in (1, 2, 3))
    d = make_patch(root, OTHER, form="dense", seed=4)
    both = squash([a, c, d]).patch
    apply_on_disk(root, [both])
    before = tree(root)
    # `d` is known by the annotation alone: a dense sum has no groups.
    for again, says in (([a], "is applied already, in the squash"), ([d], "in the squash"),
                        ([squash([a, b]).patch], "is in both squashes")):  # fmt: skip
        with pytest.raises(ConflictError, match=says) as caught:
            apply_on_disk(root, again)
        assert caught.value.exit_code == 4
        assert tree(root) == before
    a.save(tmp_path / "a.safetensors")
    command = ["apply", str(tmp_path / "a.safetensors"), "--model", str(root)]
    for rule in ("warn", "refuse"):
        assert main([*command, "--in-place", "--on-conflict", rule]) == 4
    assert tree(root) == before
    capsys.readouterr()
    assert main([*command, "--dry-run", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["conflicts"][0]["kind"] == "twice"
    assert main([*command, "--in-place", "--on-conflict", "last-wins"]) == 0
    assert Checkpoint.open(root).patch_ids == (a.patch_id,)
    with pytest.raises(ConflictError, match=r"and the squash .* contains it"):
        apply_on_disk(root, [both])
    apply_on_disk(root, [b])
    revert_on_disk(root, [a.patch_id, b.patch_id])


def test_squashes_of_squashes_do_not_nest(folder: Folder, make_patch: Make, tmp_path: Path) -> None:
    root = folder("llama")
    patches = [make_patch(root, KEY if n % 2 else OTHER, seed=n, form="rows") for n in range(40)]
    whole = patches[0]
    for patch in patches[1:]:
        whole = squash([whole, patch]).patch
    whole.save(tmp_path / "p.safetensors")
    found = Patch.load(tmp_path / "p.safetensors")
    sources = {source["patch_id"]: source for source in found.about["sources"]}
    assert sources.keys() >= {patch.patch_id for patch in patches}
    assert len(found.about["sources"]) == len(sources) == 40 + 38
    assert all(isinstance(name, str) for source in sources.values() for name in source.get("sources", ()))
    assert all(len(source["sources"]) == 2 for source in sources.values() if "sources" in source)
    assert found.redact().about["sources"][-1].keys() >= {"patch_id"}
    with pytest.raises(ConflictError, match="twice"):
        squash([found, patches[7]])


def test_nested_sources_of_the_first_versions_are_read(folder: Folder, make_patch: Make) -> None:
    root = folder("llama")
    a, b, c = (make_patch(root, KEY, seed=seed, form="rows") for seed in (1, 2, 3))
    inner = squash([a, b]).patch
    outer = squash([inner, c]).patch
    old = outer.with_about(
        sources=[{"patch_id": inner.patch_id, "sources": inner.about["sources"]}, {"patch_id": c.patch_id}]
    )
    with pytest.raises(ConflictError, match="twice"):
        squash([old, b])
    again = squash([old, make_patch(root, KEY, seed=4, form="rows")]).patch.about["sources"]
    assert {source["patch_id"] for source in again} > {one.patch_id for one in (a, b, inner, c, old)}
    assert all("sources" not in source or isinstance(source["sources"][0], str) for source in again)


def test_two_groups_of_one_patch_are_refused(folder: Folder, make_patch: Make, tmp_path: Path) -> None:
    root = folder("llama")
    whole = squash([make_patch(root, KEY, seed=1), make_patch(root, KEY, seed=2)]).patch
    core = json.loads(json.dumps(whole.core))
    groups = core["targets"][KEY]["groups"]
    groups[1]["patch_id"] = groups[0]["patch_id"]
    with pytest.raises(EditcoreError, match="two groups of one patch"):
        Core.read(core, "a file")
