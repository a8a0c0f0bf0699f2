"""Run every check, or those named, and write the figures."""

import argparse
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m checks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CHECKS)}; all by default")
    parser.add_argument("--write", type=Path, help="file for the figures; of checks named, their sections")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(CHECKS)):
        parser.error(f"there is no check {unknown[0]}")
    sections = _sections(arguments.write) if arguments.names and arguments.write is not None else {}
    for name in arguments.names or CHECKS:
        started = time.monotonic()
        lines = _alone(CHECKS[name])
        took = f"Took {time.monotonic() - started:.0f} s, {datetime.now(UTC):%Y-%m-%d}."
        sections[name] = f"## {name}\n\n" + "\n".join(lines) + f"\n\n{took}\n"
        print(sections[name], flush=True)
        if arguments.write is not None:
            ordered = [sections[each] for each in CHECKS if each in sections]
            arguments.write.write_text("\n".join([_heading(), *ordered]), encoding="utf-8")


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
