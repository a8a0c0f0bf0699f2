"""Run every check, or those named, and write the figures."""

import argparse
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from checks import attacks, bench, crashes, failing_disk, fuzz, interleavings, kills, quality, refusals, writers

CHECKS: dict[str, Callable[[], list[str]]] = {
    "refusals": refusals.run,
    "attacks": attacks.run,
    "interleavings": interleavings.run,
    "crash points": crashes.run,
    "kills": kills.run,
    "failing disk": failing_disk.run,
    "two writers": writers.run,
    "fuzz": fuzz.run,
    "quality": quality.run,
    "bench": bench.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m checks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CHECKS)}; all by default")
    parser.add_argument("--write", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(CHECKS)):
        parser.error(f"there is no check {unknown[0]}")
    sections = [_heading()]
    for name in arguments.names or CHECKS:
        started = time.monotonic()
        lines = CHECKS[name]()
        sections.append(f"## {name}\n\n" + "\n".join(lines) + f"\n\nTook {time.monotonic() - started:.0f} s.\n")
        print(sections[-1], flush=True)
    if arguments.write is not None:
        arguments.write.write_text("\n".join(sections), encoding="utf-8")


def _heading() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("editcore", "torch", "transformers", "safetensors"))
    return (
        "# Results of `make check`\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()} on {platform.machine()}; {versions}.\n"
    )


if __name__ == "__main__":
    main()
