"""The demo spec from the command line: killed half-way, resumed, run again elsewhere, shown as a page.

The runs are compared with each other, and their figures with those kept in `benchmarks/results/bench-demo.csv`.
"""

import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from editcore_bench.compared import compare_runs
from editcore_bench.runs.folder import RunFolder

RUN: Final = ("run", "demo", "--workers", "2")
KEPT: Final = Path(__file__).parents[1] / "benchmarks" / "results" / "bench-demo.csv"
NAMES: Final = ("model", "dataset", "method", "protocol", "seed", "scored", "since", "edits", "metric")


def run() -> list[str]:
    with tempfile.TemporaryDirectory() as place:
        out, again = Path(place) / "killed", Path(place) / "again"
        cells, there, unchanged = _killed(out)
        _call(*RUN, "-o", again)
        elsewhere = compare_runs(RunFolder.open(out), RunFolder.open(again))
        _call("report", out)
        page = (out / "report.html").stat().st_size
        kept = against(KEPT, out / "figures.csv")
    return [
        f"Killed with {there} of {cells} cells finished; on resuming, {unchanged} of the {there} were not run again.",
        "",
        f"Run again elsewhere: {'every row is the same' if elsewhere.same_rows else 'THE ROWS DIFFER'}.",
        "",
        f"Against the kept figures, which another machine may have made: {kept}.",
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


def against(kept: Path, found: Path) -> str:
    """How the figures of one CSV compare with those of another: equal, or each within the other's interval, or not."""
    before, now = _figures(kept), _figures(found)
    verdicts = Counter(_verdict(before[name], now[name]) for name in before if name in now)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    missing = len(before.keys() - now.keys())
    return f"of {len(before)} figures {counts}{f', {missing} MISSING' if missing else ''}"


def _figures(path: Path) -> dict[tuple[str, ...], dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {tuple(row[name] for name in NAMES): row for row in csv.DictReader(file)}


def _verdict(one: dict[str, str], other: dict[str, str]) -> str:
    if all(one[name] == other[name] for name in ("value", "low", "high", "n")):
        return "equal"
    inside = all(float(a["low"]) <= float(b["value"]) <= float(a["high"]) for a, b in ((one, other), (other, one)))
    return "within the intervals" if inside else "DIFFERENT"


def _call(*arguments: str | Path) -> None:
    subprocess.run(_command(*arguments), check=True, stdout=subprocess.DEVNULL)


def _command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "editcore", "bench", *map(str, arguments)]
