"""The demo spec from the command line: killed half-way, gone on with, run again elsewhere, shown as a page.

The runs are compared with each other, and with the one that is kept in this repository.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from editcore_bench.compared import Comparison, compare_runs
from editcore_bench.runs.folder import RunFolder

RUN: Final = ("run", "demo", "--workers", "2")
KEPT: Final = Path(__file__).parents[1] / "benchmarks" / "runs" / "demo"


def run() -> list[str]:
    with tempfile.TemporaryDirectory() as place:
        out, again = Path(place) / "killed", Path(place) / "again"
        cells, there, unchanged = _killed(out)
        _call(*RUN, "-o", again)
        elsewhere = compare_runs(RunFolder.open(out), RunFolder.open(again))
        _call("report", out)
        page = (out / "report.html").stat().st_size
        kept = compare_runs(RunFolder.open(KEPT), RunFolder.open(out))
    return [
        f"Killed with {there} of {cells} cells finished; gone on with, {unchanged} of the {there} were not run again.",
        "",
        f"Run again elsewhere: {'every row is the same' if elsewhere.same_rows else 'THE ROWS DIFFER'}.",
        "",
        f"Against the kept run, which another machine may have made: {_said(kept)}.",
        "",
        f"The page is one file of {page / 1e6:.2f} MB.",
    ]


def _killed(out: Path) -> tuple[int, int, int]:
    """How many cells there are, were finished at the kill, and of those are untouched at the end."""
    running = subprocess.Popen(_command(*RUN, "-o", out), stdout=subprocess.DEVNULL)
    while not (out / "run.json").is_file() or 2 * len(_finished(out)) < len(RunFolder.open(out).manifest()["cells"]):
        if running.poll() is not None:
            raise RuntimeError(f"the run ended by itself with {running.returncode}")
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    before = _finished(out)
    _call(*RUN, "-o", out)
    after = _finished(out)
    return len(after), len(before), sum(after[name] == moment for name, moment in before.items())


def _finished(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "cells").glob("*.json")}


def _said(found: Comparison) -> str:
    verdicts = Counter(one.verdict for one in found.differences)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    lacking = f"; MISSING {', '.join(found.missing)}" if found.missing else ""
    other = f"; OTHER DATA {', '.join(found.other_data)}" if found.other_data else ""
    return f"of {len(found.differences)} figures {counts}{lacking}{other}"


def _call(*arguments: str | Path) -> None:
    subprocess.run(_command(*arguments), check=True, stdout=subprocess.DEVNULL)


def _command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "editcore", "bench", *map(str, arguments)]
