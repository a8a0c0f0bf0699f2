"""Runs: what rows say, what is kept, what is run again."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, field, frozen

from editcore.plugins.registry import registry
from editcore_bench.runs.engines import Here, Tick
from editcore_bench.runs.folder import RunFolder
from editcore_bench.runs.work import Done, Failed, Task
from editcore_hooks import ConflictError, EditMethod, UsageError

SHORT = (("  - batch: [2, 6]\n", ""), ("  - sequential: [1, 3, 6]\n    gap: 2\n", ""))
"""Single edits only."""


def rows(folder: Path, method: str, protocol: str) -> list[dict[str, Any]]:
    run = RunFolder.open(folder)
    (record,) = (r for r in run.records() if (r.cell.method.label, r.cell.protocol.label) == (method, protocol))
    return list(run.rows(record.cell))


def test_every_combination_is_a_cell(small_run: Path) -> None:
    labels = {(record.cell.method.label, record.cell.protocol.label) for record in RunFolder.open(small_run).records()}
    protocols = ("single", "batch 2", "batch 6", "sequential 6")
    assert labels == {(method, protocol) for method in ("ft-l", "ft-m") for protocol in protocols}


def test_a_single_edit_is_scored_alone(small_run: Path) -> None:
    found = rows(small_run, "ft-m", "single")
    assert {(row["phase"], row["edits"]) for row in found} == {("single", 1)}
    assert {row["case"] for row in found} == {f"town-{number}" for number in range(6)}


def test_a_batch_is_scored_with_all_its_edits_on(small_run: Path) -> None:
    assert {(row["phase"], row["edits"]) for row in rows(small_run, "ft-m", "batch 2")} == {("batch", 2)}


def test_a_sequence_is_scored_right_after_each_edit_a_gap_later_and_all_again_at_every_mark(small_run: Path) -> None:
    found = [row for row in rows(small_run, "ft-m", "sequential 6") if row["metric"] == "tf.exact@1"]
    asked = {
        phase: {(row["edits"], row["case"]) for row in found if row["phase"] == phase}
        for phase in ("immediate", "gap", "final")
    }
    town = "town-{}".format
    assert asked["immediate"] == {(number + 1, town(number)) for number in range(6)}
    assert asked["gap"] == {(number + 3, town(number)) for number in range(4)}
    assert asked["final"] == {(mark, town(number)) for mark in (1, 3, 6) for number in range(mark)}


def test_a_sequence_of_groups_is_scored_group_by_group(run_spec: Any, write_spec: Any, tmp_path: Path) -> None:
    marks = ("  - sequential: [1, 3, 6]\n    gap: 2\n", "  - sequential: [2, 6]\n    gap: 4\n    at_once: 2\n")
    run_spec(write_spec(tmp_path, ("  - single\n  - batch: [2, 6]\n", ""), marks), tmp_path / "out")
    found = [row for row in rows(tmp_path / "out", "ft-m", "sequential 6, 2 at once") if row["metric"] == "tf.exact@1"]
    asked = {
        phase: {(row["edits"], row["case"]) for row in found if row["phase"] == phase}
        for phase in ("immediate", "gap", "final")
    }
    town = "town-{}".format
    assert asked["immediate"] == {(end, town(end - back)) for end in (2, 4, 6) for back in (1, 2)}
    assert asked["gap"] == {(6, town(0)), (6, town(1))}
    assert asked["final"] == {(mark, town(number)) for mark in (2, 6) for number in range(mark)}


def test_an_edit_that_was_made_changes_what_the_next_is_scored_on(small_run: Path) -> None:
    def logprobs(phase: str, edits: int) -> list[float]:
        return [
            row["logprob_new"]
            for row in rows(small_run, "ft-m", "sequential 6")
            if (row["phase"], row["edits"], row["metric"], row["case"]) == (phase, edits, "pref.es@1", "town-0")
        ]

    assert logprobs("immediate", 1) == logprobs("final", 1) != logprobs("final", 6)


def test_what_is_said_of_the_model_as_a_whole_is_asked_at_marks_only(small_run: Path) -> None:
    found = rows(small_run, "ft-m", "sequential 6")
    marks = {(row["phase"], row["edits"]) for row in found if row["metric"] == "damage.ppl@1"}
    assert marks == {("final", 1), ("final", 3), ("final", 6)}


def test_damage_is_measured_on_the_text_that_a_spec_names(run_spec: Any, write_spec: Any, tmp_path: Path) -> None:
    text = "Everybody in town knows the baker.\nThe river is high this year.\n"
    (tmp_path / "plain.txt").write_text(text)
    only = (("  - single\n", ""), SHORT[1], ("answer_tokens: 2", "answer_tokens: 0\nneutral: plain.txt"))
    spec = write_spec(tmp_path, *only)
    ended = run_spec(spec, tmp_path / "out")
    assert not ended.failed
    for record in ended.folder.records():
        found = [row for row in ended.folder.rows(record.cell) if row["metric"] == "damage.ppl@1"]
        assert {row["neutral"] for row in found} == {hashlib.sha256(text.encode()).hexdigest()}
    (tmp_path / "plain.txt").write_text("The river is low.\n")
    with pytest.raises(UsageError, match="holds a run that differs in neutral"):
        run_spec(spec, tmp_path / "out")


def test_rows_keep_the_texts_before_and_after(small_run: Path) -> None:
    edits = [row for row in rows(small_run, "ft-m", "single") if row["about"] == "edit"]
    assert all(row["answer_before"].strip() for row in edits)
    assert any(row["answer_after"] != row["answer_before"] for row in edits)


def test_two_runs_have_equal_rows(small_run: Path, run_spec: Any, write_spec: Any, tmp_path: Path) -> None:
    run_spec(write_spec(tmp_path), tmp_path / "again")
    hashes = [[r.rows_sha256 for r in RunFolder.open(place).records()] for place in (small_run, tmp_path / "again")]
    assert hashes[0] == hashes[1]


def test_finished_cells_are_not_run_again_and_spoilt_ones_are(run_spec: Any, write_spec: Any, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, *SHORT)
    first = run_spec(spec, tmp_path / "out")
    assert len(first.done) == 2
    spoilt, whole = (tmp_path / "out" / "cells").glob("*.jsonl")
    spoilt.write_text(spoilt.read_text()[:-20])
    kept = whole.stat().st_ino
    second = run_spec(spec, tmp_path / "out")
    assert (len(second.kept), len(second.done)) == (1, 1)
    assert whole.stat().st_ino == kept


def test_a_folder_of_another_run_is_refused_and_left_alone(
    small_run: Path, run_spec: Any, write_spec: Any, tmp_path: Path
) -> None:
    before = (small_run / "run.json").read_bytes()
    with pytest.raises(UsageError, match="holds a run that differs in spec"):
        run_spec(write_spec(tmp_path, ("steps: 4", "steps: 3")), small_run)
    assert (small_run / "run.json").read_bytes() == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(UsageError, match="holds other files and no run"):
        run_spec(write_spec(tmp_path), tmp_path / "full")


def test_what_was_killed_while_it_began_is_begun_again(run_spec: Any, write_spec: Any, tmp_path: Path) -> None:
    spec, out = write_spec(tmp_path, *SHORT), tmp_path / "out"
    for folder in ("cases", "cells"):
        (out / folder).mkdir(parents=True)
    left = [out / name for name in ("cases/.towns.jsonl.0123456789ab.tmp", ".run.json.ba9876543210.tmp")]
    for path in (out / ".lock", out / "cases/towns.jsonl", *left):
        path.write_text("half")
    assert len(run_spec(spec, out).done) == 2
    assert not any(path.exists() for path in left)
    assert len(RunFolder.open(out).cases("towns")) == 6


@pytest.mark.parametrize("name", ["cases/thesis.jsonl", "cells/rows.jsonl", "cells/notes/a.txt"])
def test_files_of_others_are_left_alone_wherever_they_are(
    name: str, run_spec: Any, write_spec: Any, tmp_path: Path
) -> None:
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.touch()
    with pytest.raises(UsageError, match="holds other files and no run"):
        run_spec(write_spec(tmp_path), tmp_path / "out")
    assert file.exists()


def test_a_cell_says_what_made_it_and_where(small_run: Path) -> None:
    for record in RunFolder.open(small_run).records():
        assert (record.method["name"], record.method["distribution"]) == (record.cell.method.name, "editcore-ft")
        assert record.method["version"] == version("editcore-ft")
        assert record.method["hparams"]["steps"] == 4  # stated in the spec
        assert "linf_radius" in record.method["hparams"]  # and all that was not
        assert record.where["threads"] > 0


def test_a_run_is_not_gone_on_with_under_other_versions(run_spec: Any, write_spec: Any, tmp_path: Path) -> None:
    spec, out = write_spec(tmp_path, *SHORT), tmp_path / "out"
    run_spec(spec, out)
    manifest = json.loads((out / "run.json").read_text())
    manifest["where"]["versions"]["editcore-ft"] = "0.0.9"
    (out / "run.json").write_text(json.dumps(manifest))
    assert len(run_spec(spec, out).kept) == 2  # there is nothing to mix
    next((out / "cells").glob("*.json")).unlink()
    with pytest.raises(UsageError, match=r"was begun with editcore-ft 0\.0\.9 and not"):
        run_spec(spec, out)


@frozen
class Elsewhere:
    """An engine whose workers have another version of the method's plugin."""

    def run(self, tasks: Sequence[Task], tick: Tick) -> Iterator[tuple[Task, Done | Failed]]:
        for task, outcome in Here().run(tasks, tick):
            assert isinstance(outcome, Done)
            yield task, evolve(outcome, method={**outcome.method, "version": "0.0.9"})


def test_a_cell_of_a_worker_with_other_versions_is_not_kept(run_spec: Any, write_spec: Any, tmp_path: Path) -> None:
    outcome = run_spec(write_spec(tmp_path, *SHORT), tmp_path / "out", Elsewhere())
    assert not outcome.done
    here = version("editcore-ft")
    assert {failure.message for _, failure in outcome.failed} == {
        f"the run was begun with editcore-ft {here} and not 0.0.9 of its worker"
    }


def test_two_runs_do_not_write_into_one_folder(small_run: Path, run_spec: Any, write_spec: Any, tmp_path: Path) -> None:
    with RunFolder(small_run).locked(), pytest.raises(ConflictError, match="another run is writing"):
        run_spec(write_spec(tmp_path), small_run)


def test_a_cell_that_fails_does_not_stop_the_others(run_spec: Any, write_spec: Any, tmp_path: Path) -> None:
    spec = write_spec(
        tmp_path,
        ("{name: ft-l, set: {steps: 4, layers: [1]}}", "{name: ft-l, set: {steps: 4, layers: [99]}}"),
        *SHORT,
    )
    outcome = run_spec(spec, tmp_path / "out")
    ((label, failure),) = outcome.failed
    assert "ft-l" in label
    assert "99" in failure.message
    assert len(outcome.done) == 1


def test_the_folder_names_no_place_of_this_machine(small_run: Path, llama_folder: Path) -> None:
    for file in small_run.rglob("*.json*"):
        text = file.read_text(encoding="utf-8")
        assert str(llama_folder.parent) not in text
        assert str(small_run.parent) not in text


def test_the_manifest_has_versions_hashes_and_the_machine(small_run: Path) -> None:
    manifest = json.loads((small_run / "run.json").read_text())
    assert {"editcore", "editcore-bench", "editcore-ft", "torch"} <= manifest["where"]["versions"].keys()
    (root,) = manifest["identity"]["models"].values()
    assert len(root) == len(manifest["identity"]["datasets"]["towns"]) == 64
    assert manifest["where"]["processors"] > 0


def test_the_cases_of_a_run_are_read_as_cases(small_run: Path) -> None:
    from editcore.cases.reading import read_cases

    path = small_run / "cases" / "towns.jsonl"
    assert len(list(read_cases(path.read_text().splitlines(), path.name))) == 6


@frozen
class Listening:
    """Runs here, and keeps the progress it hears of."""

    heard: list[int] = field(factory=list)

    def run(self, tasks: Sequence[Task], tick: Tick) -> Iterator[tuple[Task, Done | Failed]]:
        yield from Here().run(tasks, self.heard.append)


def test_edits_that_are_computed_one_by_one_are_told_of_one_by_one(
    run_spec: Any, write_spec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, alone = Listening(), Listening()
    spec = write_spec(tmp_path, *SHORT)
    run_spec(spec, tmp_path / "together", together)
    for name in ("ft-l", "ft-m"):
        monkeypatch.setattr(registry().method(name), "compute_each", EditMethod.compute_each)
    run_spec(spec, tmp_path / "alone", alone)
    assert together.heard == [6, 6]  # two methods, six cases each
    assert alone.heard == [1] * 12
