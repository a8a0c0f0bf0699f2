"""`apply --dry-run` prints conflicts, and `--on-conflict` decides."""

import json

import pytest

from editcore.cli import main
from editcore.patches import Checkpoint, Patch


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
