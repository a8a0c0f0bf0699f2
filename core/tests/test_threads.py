"""How many threads a process computes with: what it may use, and what a setting says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from editcore import threads
from editcore.cli import main
from editcore_hooks import UsageError


@pytest.fixture
def affine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "3200000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu.max": "unreadable"}, 8),
    ],
)
def test_a_container_and_an_affinity_limit_the_count(
    limits: dict[str, str], expected: int, affine: None, tmp_path: Path
) -> None:
    for name, text in limits.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads.available(tmp_path) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OMP_NUM_THREADS": "many"}, None),
        ({"EDITCORE_THREADS": "2", "OMP_NUM_THREADS": "3"}, 2),
        ({"EDITCORE_THREADS": "", "OMP_NUM_THREADS": "3"}, 3),
    ],
)
def test_a_setting_says_how_many(given: dict[str, str], expected: int | None) -> None:
    assert threads.requested(given) == expected


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_count_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    with pytest.raises(UsageError, match=f"EDITCORE_THREADS is '{text}'"):
        threads.requested({"EDITCORE_THREADS": text})
    monkeypatch.setenv("EDITCORE_THREADS", text)
    assert main(["methods"]) == 2
    assert "hint: set it to 1 or more" in capsys.readouterr().err


def test_processes_side_by_side_share_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITCORE_THREADS", "5")
    assert [threads.share(workers) for workers in (1, 2, 4, 9)] == [5, 2, 1, 1]


def test_what_is_settled_is_kept_where_it_was_set() -> None:
    given = {"OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": "3"}
    threads.settle(given)
    assert given == {"OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": "3", "GOMP_SPINCOUNT": "0"}


def test_a_command_settles_the_threads_of_torch_before_it_is_loaded() -> None:
    code = (
        "import sys; from editcore.cli import main; assert 'torch' not in sys.modules; main(['--version'])\n"
        "import torch; print(torch.get_num_threads())"
    )
    environment = {**os.environ, "EDITCORE_THREADS": "1", "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "1"
