"""Run every check, or those named, and write the figures."""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final
from unittest import mock

from checks import (
    attacks,
    bench,
    conformance,
    crashes,
    failing_disk,
    families,
    fuzz,
    fuzz_folders,
    fuzz_texts,
    interleavings,
    kernels,
    killed_bench,
    kills,
    metrics,
    published,
    quality,
    refusals,
    template,
    writers,
)

CHECKS: dict[str, Callable[[], list[str]]] = {
    "refusals": refusals.run,
    "attacks": attacks.run,
    "interleavings": interleavings.run,
    "crash points": crashes.run,
    "kills": kills.run,
    "failing disk": failing_disk.run,
    "two writers": writers.run,
    "fuzz": fuzz.run,
    "fuzz folders": fuzz_folders.run,
    "fuzz of texts": fuzz_texts.run,
    "kernels": kernels.run,
    "families": families.run,
    "quality": quality.run,
    "metrics": metrics.run,
    "bench": bench.run,
    "published": published.run,
    "killed bench": killed_bench.run,
    "template": template.run,
    "conformance": conformance.run,
}


ALONE: Final = frozenset({"kernels", "bench", "killed bench"})
"""They take every core, or count seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m checks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CHECKS)}; all by default")
    parser.add_argument("--write", type=Path, help="file for the figures; of checks named, their sections")
    parser.add_argument("--jobs", type=int, default=1, help="checks at once, each in a process of its own")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(CHECKS)):
        parser.error(f"there is no check {unknown[0]}")
    sections = _sections(arguments.write) if arguments.names and arguments.write is not None else {}
    failed: list[str] = []
    for name, section in _run(arguments.names or list(CHECKS), arguments.jobs):
        if section is None:
            failed.append(name)
            sections.pop(name, None)  # an old figure would stand for a check that fails
            continue
        sections[name] = section
        print(section, flush=True)
        if arguments.write is not None:
            ordered = [sections[each] for each in CHECKS if each in sections]
            arguments.write.write_text("\n".join([_heading(), *ordered]), encoding="utf-8")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _run(names: Sequence[str], jobs: int) -> Iterator[tuple[str, str | None]]:
    """The section of each check as it ends, None of one that failed; those of `ALONE` one by one at the end."""
    if jobs == 1:
        yield from ((name, _section(name)) for name in names)
        return
    with ThreadPoolExecutor(jobs) as pool:
        together = {pool.submit(_in_process, name, jobs): name for name in names if name not in ALONE}
        yield from ((together[done], done.result()) for done in as_completed(together))
    yield from ((name, _in_process(name, 1)) for name in names if name in ALONE)


def _in_process(name: str, at_once: int) -> str | None:
    """The check in a process with its share of the cores."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "section.md"
        command = [sys.executable, "-m", "checks", name, "--write", str(written)]
        share = str(max((os.cpu_count() or 1) // at_once, 1))
        environment = {**os.environ, **({"OMP_NUM_THREADS": share} if at_once > 1 else {})}
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"## {name}\n\nfailed:\n{done.stderr[-4000:]}", flush=True)
            return None
        return _sections(written)[name]


def _section(name: str) -> str | None:
    started = time.monotonic()
    try:
        lines = _alone(CHECKS[name])
    except Exception:
        traceback.print_exc()
        return None
    took = f"Took {time.monotonic() - started:.0f} s, {datetime.now(UTC):%Y-%m-%d}."
    return f"## {name}\n\n" + "\n".join(lines) + f"\n\n{took}\n"


def _alone(check: Callable[[], list[str]]) -> list[str]:
    """In a cache of its own: what another check collected in a hurry would be found by the next, and used."""
    with tempfile.TemporaryDirectory() as cache, mock.patch.dict(os.environ, {"EDITCORE_CACHE": cache}):
        return check()


def _sections(written: Path) -> dict[str, str]:
    """The sections of an earlier run, which those named now replace."""
    if not written.exists():
        return {}
    _, *sections = re.split(r"^(?=## )", written.read_text("utf-8"), flags=re.MULTILINE)
    return {section.splitlines()[0].removeprefix("## "): section.rstrip() + "\n" for section in sections}


def _heading() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("editcore", "torch", "transformers", "safetensors"))
    return f"# Results of `make check`\n\nPython {platform.python_version()} on {platform.machine()}; {versions}.\n"


if __name__ == "__main__":
    main()
