"""A run that is killed, and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from editcore_bench.runs.folder import RunFolder


def command(spec: Path, out: Path, model: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "editcore", "bench", "run", str(spec), "-o", str(out), "--model", str(model), *more]


def finished(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "cells").glob("*.json")}


@pytest.mark.thorough
def test_a_killed_run_goes_on_where_it_was_and_finds_the_same(
    small_run: Path, write_spec: Any, llama_folder: Path, tmp_path: Path
) -> None:
    spec, out = write_spec(tmp_path), tmp_path / "out"
    running = subprocess.Popen(command(spec, out, llama_folder), stderr=subprocess.PIPE, text=True)
    while not finished(out):
        assert running.poll() is None, running.stderr and running.stderr.read()
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    before = finished(out)
    assert 0 < len(before) < 8
    done = subprocess.run(command(spec, out, llama_folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(before)} of 8 cells exist already" in done.stderr
    after = finished(out)
    assert len(after) == 8
    assert {name: after[name] for name in before} == before
    hashes = [[record.rows_sha256 for record in RunFolder.open(place).records()] for place in (small_run, out)]
    assert hashes[0] == hashes[1]


@pytest.mark.thorough
def test_workers_end_with_the_run_that_is_killed(write_spec: Any, llama_folder: Path, tmp_path: Path) -> None:
    spec, out = write_spec(tmp_path), tmp_path / "out"
    running = subprocess.Popen(command(spec, out, llama_folder, "--workers", "2"), stderr=subprocess.DEVNULL)
    while not finished(out):
        assert running.poll() is None
        time.sleep(0.01)
    children = _children(running.pid)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert len(children) >= 2
    deadline = time.monotonic() + 1200  # so that a fault ends the test
    while any(_alive(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    record = json.loads(next((out / "cells").glob("*.json")).read_text())
    assert record["rows_sha256"]


def _children(parent: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(parent).children(recursive=True)]


def _alive(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
