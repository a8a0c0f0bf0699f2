"""Runs against an earlier run."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editcore.cli import main
from editcore_bench.compared import compare_runs, verdict
from editcore_bench.runs.folder import RunFolder


def altered(run: Path, place: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a run with other rows, whole as if it had been run so."""
    shutil.copytree(run, place)
    for path in (place / "cells").glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            change(row)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        record = path.with_suffix(".json")
        about = json.loads(record.read_text())
        about["rows_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        record.write_text(json.dumps(about))
    return place


def fail_all_but_one(row: dict[str, Any]) -> None:
    if row["metric"] == "loc.agree@1":
        row["value"] = 0.0 if row["case"] != "town-3" else row["value"]


def test_a_run_is_equal_to_itself(small_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compare_runs(RunFolder.open(small_run), RunFolder.open(small_run))
    assert {one.verdict for one in found.differences} == {"equal"}
    assert found.same_rows
    assert main(["bench", "compare", str(small_run), str(small_run), "--equal"]) == 0
    assert "every row is the same" in capsys.readouterr().err


def test_what_became_worse_is_told_with_its_exit_code(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = altered(small_run, tmp_path / "worse", fail_all_but_one)
    found = compare_runs(RunFolder.open(small_run), RunFolder.open(worse))
    assert {one.metric for one in found.differences if one.verdict != "equal"} == {"loc.agree@1"}
    assert all(one.mean < 0 and one.high < 0 and one.n >= 4 for one in found.worse)
    assert found.worse
    assert main(["bench", "compare", str(small_run), str(worse)]) == 5
    assert "became worse" in capsys.readouterr().err
    assert main(["bench", "compare", str(worse), str(small_run)]) == 0
    assert main(["bench", "compare", str(small_run), str(worse), "--tolerance", "1"]) == 0
    assert main(["bench", "compare", str(small_run), str(worse), "--equal"]) == 7


@pytest.mark.parametrize("factor", [3.0, 1 / 3])
def test_a_perplexity_ratio_is_worse_the_farther_it_is_from_one(factor: float, small_run: Path, tmp_path: Path) -> None:
    def spoil(row: dict[str, Any]) -> None:
        if row["metric"] == "damage.ppl@1":
            row["value"] = factor

    def mend(row: dict[str, Any]) -> None:
        if row["metric"] == "damage.ppl@1":
            row["value"] = 1.0 + row["value"] / 1e6

    spoilt, mended = altered(small_run, tmp_path / "spoilt", spoil), altered(small_run, tmp_path / "mended", mend)
    for places, said in (((mended, spoilt), "worse"), ((spoilt, mended), "better")):
        found = compare_runs(*map(RunFolder.open, places))
        assert {one.verdict for one in found.differences if one.metric == "damage.ppl@1" and one.n > 1} == {said}


def test_a_metric_without_a_good_side_is_never_called_better_or_worse() -> None:
    values = [(1.0, 2.0), (1.0, 2.1), (1.0, 2.2)]
    assert verdict("fluency.ngram@2", values, 0.0) == verdict("ppl_r@1", values, 0.0) == "not told apart"
    assert verdict("loc.kl.neighbour@1", values, 0.0) == "worse"
    assert verdict("damage.kl@1", values, 0.0) == "worse"
    assert verdict("port.all@1", values, 0.0) == "better"


def test_one_case_is_no_evidence(small_run: Path, tmp_path: Path) -> None:
    def one_row(row: dict[str, Any]) -> None:
        if row["metric"] == "tf.exact@1" and row["case"] == "town-0":
            row["value"] = 1.0 - row["value"]

    found = compare_runs(RunFolder.open(small_run), RunFolder.open(altered(small_run, tmp_path / "b", one_row)))
    assert {one.verdict for one in found.differences if one.metric == "tf.exact@1"} == {"not told apart"}


def test_a_cell_that_is_not_there_any_more_is_missed(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(small_run, tmp_path / "b")
    next((tmp_path / "b" / "cells").glob("*ft-l*single*.json")).unlink()
    assert main(["bench", "compare", str(small_run), str(tmp_path / "b")]) == 5
    assert "lacks" in capsys.readouterr().err


def test_runs_of_other_cases_are_not_compared(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(small_run, tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / "run.json").read_text())
    manifest["identity"]["datasets"]["towns"] = "0" * 64
    (tmp_path / "b" / "run.json").write_text(json.dumps(manifest))
    assert main(["bench", "compare", str(small_run), str(tmp_path / "b")]) == 2
    assert "the dataset towns of the two runs differ" in capsys.readouterr().err
