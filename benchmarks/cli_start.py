"""`python -m benchmarks.cli_start --hatch PATH`: how long commands take that compute nothing, beside `hatch --help`.

PATH is the `hatch` of any environment with hatch installed. The commands take turns, round after round, so that what
else the machine does meets all of them; the first round, in which files are read from disk and compiled, is not
counted. Printed are milliseconds and the ratio to `hatch --help`, of wall time and of processor time, each the least of
all rounds. The first start after an installation loads every plugin and is shown apart.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from benchmarks.machine import describe_machine
from editcore.cli import root
from editcore.patches.change.ondisk import apply_on_disk
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.identity import base_identity
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import to_stored
from editcore.testing.tiny import tiny_model
from editcore_hooks import LowRank

HELP_LIMIT, OTHER_LIMIT = 1.2, 1.3


@frozen
class Command:
    """A command line, and the seconds that its runs took."""

    words: tuple[str, ...]
    shown: str
    wall: list[float] = field(factory=list)
    processor: list[float] = field(factory=list)

    def run(self, environment: Mapping[str, str]) -> tuple[float, float]:
        """Seconds of one run: wall and processor time. Raises `SystemExit` when it fails."""
        started = time.perf_counter()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(self.words, env=environment, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(f"{self.shown}: {done.stderr}")
        took = time.perf_counter() - started
        return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def time(self, environment: Mapping[str, str]) -> None:
        wall, processor = self.run(environment)
        self.wall.append(wall)
        self.processor.append(processor)


def patched_folder(scratch: Path) -> tuple[Path, Path]:
    """A small model folder with one patch applied, and the file of the patch."""
    import torch

    folder = tiny_model("llama", scratch / "model", n_layers=2)
    opened = Checkpoint.open(folder)
    key = "model.layers.0.mlp.down_proj.weight"
    entry = opened.entries[key]
    update = LowRank(torch.full((entry.shape[0], 1), 0.1), torch.full((1, entry.shape[1]), 0.1))
    target = Target(to_stored(update, False), entry.dtype, entry.shape, opened.base_sha256(key))
    patch = seal({key: target}, base_identity(opened, "tiny"), {"title": "a patch", "method": {"name": "none"}})
    file = scratch / "patch.safetensors"
    patch.save(file)
    apply_on_disk(folder, [patch])
    return folder, file


def commands(folder: Path, patch: Path) -> list[Command]:
    """Everything that computes nothing: help pages, and what is read from a patch, a folder and the plugins."""
    program = shutil.which("editcore", path=str(Path(sys.executable).parent)) or "editcore"
    lines = [["--help"], ["inspect", str(patch)], ["stack", str(folder)], ["plugins", "list"]]
    lines += [
        [name, "--help"] for name in root.list_commands(root.make_context("editcore", [], resilient_parsing=True))
    ]
    shown = {str(patch): "PATCH", str(folder): "DIR"}
    return [Command((program, *line), " ".join(["editcore", *(shown.get(w, w) for w in line)])) for line in lines]


def table(reference: Command, timed: Sequence[Command]) -> list[str]:
    """One line a command, with the limit where the ratio of processor time is above it."""
    lines = [f"{'command':<28}{'wall ms':>9}{'ratio':>7}{'median':>8}{'cpu ms':>8}{'ratio':>7}"]
    for one in [reference, *timed]:
        wall, cpu = min(one.wall), min(one.processor)
        ratio = cpu / min(reference.processor)
        limit = HELP_LIMIT if one.shown == "editcore --help" else OTHER_LIMIT
        lines.append(
            f"{one.shown:<28}{wall * 1000:>9.0f}{wall / min(reference.wall):>7.2f}"
            f"{statistics.median(one.wall) / statistics.median(reference.wall):>8.2f}{cpu * 1000:>8.0f}{ratio:>7.2f}"
            + (f"  above {limit}" if ratio > limit else "")
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cli_start", description=__doc__)
    parser.add_argument("--hatch", default="hatch", help="the hatch to compare with (default: the one on PATH)")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, patch = patched_folder(Path(scratch))
        # Compiled bytecode is kept as Python keeps it for everybody; hatch and editcore alike.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment["EDITCORE_CACHE"] = f"{scratch}/cache"
        reference = Command((arguments.hatch, "--help"), "hatch --help")
        every = [reference, *commands(folder, patch)]
        for one in every:
            one.run(environment)
        first = Command(every[1].words, "the first editcore --help")
        for _ in range(arguments.rounds):
            for one in every:
                one.time(environment)
        for _ in range(arguments.rounds):
            shutil.rmtree(environment["EDITCORE_CACHE"], ignore_errors=True)
            first.time(environment)
    print("\n".join(table(reference, [*every[1:], first])))
    print(f"\n{arguments.rounds} rounds; {describe_machine(1)}")


if __name__ == "__main__":
    main()
