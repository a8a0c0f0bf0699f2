"""Tests whose figures depend on arithmetic: with other kernels, more threads, and beside busy processes."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from attrs import frozen

SENSITIVE: Final = (
    "plugins",
    *(f"core/tests/{room}" for room in ("editing", "session", "evaluation", "testing", "tuning")),
)
"""All methods, and the rooms of the core that compute with a model."""


@frozen
class Way:
    kernels: str
    """A value of ATEN_CPU_CAPABILITY."""
    threads: int
    busy: bool
    """Beside a process for each core that computes without pause."""


WAYS: Final = (
    Way("default", 1, busy=True),
    Way("default", 2, busy=False),
    Way("default", 4, busy=False),
    Way("avx2", 1, busy=False),
    Way("avx2", 2, busy=True),
    Way("avx2", 4, busy=False),
)


def run() -> list[str]:
    """A row for each way. Raises `RuntimeError` after all of them, where tests failed or none ran in one."""
    rows: list[str] = []
    failed: list[str] = []
    for way in WAYS:
        try:
            rows.append(_row(way))
        except RuntimeError as error:
            failed.append(str(error))
    if failed:
        raise RuntimeError("\n".join([*failed, "the others:", *rows]))
    return [
        f"`pytest {' '.join(SENSITIVE)}`, two workers:",
        "",
        "| ATEN_CPU_CAPABILITY | threads | both cores busy | result | seconds |",
        "|---|---|---|---|---|",
        *rows,
    ]


def _row(way: Way) -> str:
    """Raises `RuntimeError` where tests failed, or none ran."""
    environment = {
        **os.environ,
        "ATEN_CPU_CAPABILITY": way.kernels,
        "EDITCORE_TEST_THREADS": str(way.threads),
    }
    command = [sys.executable, "-m", "pytest", "-q", "--numprocesses", "2", *SENSITIVE]
    started = time.monotonic()
    with _busy(os.cpu_count() or 1 if way.busy else 0):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    counts = re.findall(r"\d+ (?:passed|failed|errors?)\b", done.stdout.rsplit("\n", 2)[-2] if done.stdout else "")
    if done.returncode:
        raise RuntimeError(f"{way}: exit code {done.returncode}; {', '.join([*counts, *failed]) or done.stderr[-500:]}")
    result = ", ".join(counts)
    took = time.monotonic() - started
    return f"| {way.kernels} | {way.threads} | {'yes' if way.busy else 'no'} | {result} | {took:.0f} |"


@contextmanager
def _busy(n: int) -> Iterator[None]:
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()
