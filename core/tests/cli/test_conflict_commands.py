"""`apply --dry-run` prints conflicts, and `--on-conflict` decides."""

import json
import shutil

import pytest

from editcore.cli import main
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.file.patch import Patch


@pytest.fixture
def clash(tiny, fact_patch):
    """A folder with one answer applied, and the file of another."""
    old, new = fact_patch(tiny, "old"), fact_patch(tiny, "new", target="Lima")
    assert main(["apply", str(old), "--model", str(tiny), "--in-place"]) == 0
    return tiny, old, new


def test_a_dry_run_prints_conflicts_and_writes_nothing(clash, capsys):
    model, _, new = clash
    before = (model / "editcore.json").read_bytes()
    capsys.readouterr()
    assert main(["apply", str(new), "--model", str(model), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "conflict: patches" in printed
    assert "Ada lives in … Oslo and … Lima" in printed
    assert "1 pair shares a tensor" in printed
    assert main(["apply", str(new), "--model", str(model), "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["conflicts"]
    assert [conflict["kind"] for conflict in found] == ["fact", "overlap"]
    assert main(["apply", str(new), "--model", str(model), "--dry-run", "--on-conflict", "refuse"]) == 4
    assert (model / "editcore.json").read_bytes() == before


def test_refuse_exits_4_and_changes_nothing(clash, capsys):
    model, _, new = clash
    assert main(["apply", str(new), "--model", str(model), "--in-place", "--on-conflict", "refuse"]) == 4
    assert "two answers" in capsys.readouterr().err
    assert len(Checkpoint.open(model).patch_ids) == 1


def test_warn_is_the_default_and_goes_on(clash, capsys):
    model, _, new = clash
    assert main(["apply", str(new), "--model", str(model), "--in-place"]) == 0
    assert "two answers" in capsys.readouterr().err
    assert len(Checkpoint.open(model).patch_ids) == 2


@pytest.mark.parametrize("copy", [False, True])
def test_last_wins_takes_the_earlier_off_and_says_so(clash, tmp_path, capsys, copy):
    model, old, new = clash
    old_id, new_id = (Patch.read_header(path).patch_id for path in (old, new))
    capsys.readouterr()
    where = ["-o", str(tmp_path / "out")] if copy else ["--in-place"]
    assert main(["apply", str(new), "--model", str(model), *where, "--on-conflict", "last-wins", "--json"]) == 0
    said, err = capsys.readouterr()
    assert json.loads(said)["patches"] == [new_id]
    assert json.loads(said)["taken_off"] == [old_id]
    assert f"{old_id[:12]} (old) is left out" in err
    assert Checkpoint.open(tmp_path / "out" if copy else model).patch_ids == (new_id,)


def test_patches_that_exclude_each_other_are_shown_before_they_are_refused(clash, tmp_path, capsys):
    import torch

    from editcore.patches.checkpoint.identity import base_identity
    from editcore.patches.file.sealing import Target, seal
    from editcore.patches.forms.deltas import StoredUpdate

    model, _, _ = clash
    opened = Checkpoint.open(model)
    (key,) = opened.stack.targets
    entry = opened.entries[key]
    stored = StoredUpdate("replace", {"stored": torch.zeros(entry.shape)})
    target = Target(stored, entry.dtype, entry.shape, opened.base_sha256(key))
    bits = tmp_path / "bits.safetensors"
    seal({key: target}, base_identity(opened, "tiny"), {}).save(bits)
    capsys.readouterr()
    assert main(["apply", str(bits), "--model", str(model), "--dry-run"]) == 4
    said = capsys.readouterr()
    assert "conflict: patches" in said.out
    assert "last-wins to drop the earlier" in said.err
    assert main(["apply", str(bits), "--model", str(model), "--in-place"]) == 4
    assert main(["apply", str(bits), "--model", str(model), "--in-place", "--on-conflict", "last-wins"]) == 0
    assert Checkpoint.open(model).patch_ids == (Patch.read_header(bits).patch_id,)


def test_a_large_rank_says_what_its_products_cost(tiny, tmp_path, capsys):
    import torch

    from editcore.patches.checkpoint.identity import base_identity
    from editcore.patches.file.sealing import Target, seal
    from editcore.patches.forms.deltas import to_stored
    from editcore_hooks import LowRank

    opened = Checkpoint.open(tiny)
    key = "model.layers.0.mlp.down_proj.weight"
    entry = opened.entries[key]
    rows, columns = entry.shape
    said = {}
    for rank in (1, rows):
        update = to_stored(LowRank(torch.eye(rows)[:, :rank] * 0.01, torch.ones(rank, columns)), False)
        target = Target(update, entry.dtype, entry.shape, opened.base_sha256(key))
        path = tmp_path / f"rank{rank}.safetensors"
        seal({key: target}, base_identity(opened, "tiny"), {}).save(path)
        assert main(["apply", str(path), "--model", str(tiny), "--dry-run", "--json"]) == 0
        said[rank] = json.loads(capsys.readouterr().out)["flop"]
    assert said == {1: 2 * rows * columns, rows: 2 * rows * rows * columns}


def test_all_that_a_command_puts_on_and_takes_off_is_one_change(clash, fact_patch, capsys):
    from checks.faults import Disk

    model, old, new = clash
    other = fact_patch(model, "other", subject="Bo", layer=1)
    with Disk(model).mounted() as disk:
        patches = [str(new), str(other)]
        assert main(["apply", *patches, "--model", str(model), "--in-place", "--on-conflict", "last-wins"]) == 0
    assert disk.calls.count(("rename", "model.safetensors.editcore.tmp")) == 1
    assert Patch.read_header(old).patch_id not in Checkpoint.open(model).patch_ids
    assert len(Checkpoint.open(model).patch_ids) == 2


def test_verify_with_the_base_names_what_differs(clash, tmp_path, capsys):
    model, old, _ = clash
    plain = tmp_path / "base"
    assert main(["apply", str(old), "--model", str(model), "--dry-run"]) == 4  # it is on already
    shutil.copytree(model, plain)
    assert main(["revert", Patch.read_header(old).patch_id, "--model", str(plain)]) == 0
    opened, key = Checkpoint.open(model), "model.layers.1.self_attn.q_proj.weight"
    data = bytearray(opened.file(key).read_bytes())
    data[opened.entries[key].start] ^= 1
    opened.file(key).write_bytes(data)
    capsys.readouterr()
    assert main(["verify", str(model)]) == 6
    assert f"verify {model} --base BASE" in capsys.readouterr().err
    assert main(["verify", str(model), "--base", str(plain), "--json"]) == 6
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["file"], problem["tensor"]) == ("model.safetensors", key)
    assert main(["verify", str(old), "--base", str(plain)]) == 0
