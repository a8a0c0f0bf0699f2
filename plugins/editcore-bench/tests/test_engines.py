"""The same cells in other processes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from editcore_bench.runs.engines import Processes, Tick
from editcore_bench.runs.folder import RunFolder
from editcore_bench.runs.on_ray import OnRay
from editcore_bench.runs.work import Done, Failed, Task

LESS = (("  - batch: [2, 6]\n", ""), ("  - sequential: [1, 3, 6]\n    gap: 2\n", "  - sequential: 3\n"))

SEQUENCE = (*LESS, ("  - single\n", ""))


Values = list[tuple[str, str, str, float | None]]


def values(out: Path) -> Values:
    folder = RunFolder.open(out)
    return [
        (record.cell.protocol.kind, row["metric"], row["prompt"], row["value"])
        for record in folder.records()
        for row in folder.rows(record.cell)
    ]


def agree(found: Values, expected: Values) -> None:
    """Equal but for the last digits: a worker may have another number of threads, and sums depend on it."""
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    assert [row[3] for row in found] == pytest.approx([row[3] for row in expected], rel=1e-3, abs=1e-6)


@pytest.fixture(scope="module")
def here(run_spec: Any, write_spec: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("here")
    assert len(run_spec(write_spec(place, *LESS), place / "out").done) == 4
    return place / "out"


@pytest.mark.thorough
def test_two_processes_find_what_one_finds(here: Path, run_spec: Any, write_spec: Any, tmp_path: Path) -> None:
    outcome = run_spec(write_spec(tmp_path, *LESS), tmp_path / "out", Processes(2))
    assert len(outcome.done) == 4
    agree(values(tmp_path / "out"), values(here))


@frozen
class Listening:
    """Two processes, and the progress they reported."""

    heard: list[int] = field(factory=list)

    def run(self, tasks: Sequence[Task], tick: Tick) -> Iterator[tuple[Task, Done | Failed]]:
        yield from Processes(2).run(tasks, self.heard.append)


@pytest.mark.thorough
def test_workers_tell_of_each_edit(run_spec: Any, write_spec: Any, tmp_path: Path) -> None:
    engine = Listening()
    outcome = run_spec(write_spec(tmp_path, *SEQUENCE), tmp_path / "out", engine)
    assert len(outcome.done) == 2
    assert engine.heard == [1] * 6  # two methods, three edits each


def test_two_workers_of_ray_find_what_one_process_finds(
    here: Path, run_spec: Any, write_spec: Any, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: `make check` installs it and runs this")
    outcome = run_spec(write_spec(tmp_path, *SEQUENCE), tmp_path / "out", OnRay(2))
    assert len(outcome.done) == 2
    agree(values(tmp_path / "out"), [row for row in values(here) if row[0] == "sequential"])
