"""Patch files changed at random, half of them with ids that fit: each is refused with a message, or read as valid and
met by the commands that take a patch; no crash, no hang, no large allocation, nothing written but what was asked for.
"""

import contextlib
import random
import shutil
import signal
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from attrs import field, frozen

from checks import sample_patches
from checks.attacks import BESIDE, FACTOR, LONGEST, capped
from checks.commands import call, tree
from checks.mutations import corpus, forge, mutate
from editcore.patches.file.patch import Patch
from editcore_hooks import EditcoreError

FILES: Final = 20_000
SPACE: Final = 2**27
"""Address space for a file of a few kilobytes, and for any command that reads it, beside what the process has."""
SECONDS: Final = 5.0
"""Processor time for the same; torch's share and that of any other C code included."""
MET: Final = 3
"""Commands that each valid file meets."""

COMMANDS: Final = (
    "inspect {file}",
    "inspect {file} --json",
    "verify {file}",
    "diff {file} {other}",
    "diff {file} {other} --model {model} --json",
    "apply {file} --model {model} --dry-run",
    "apply {other} {file} --model {model} --dry-run --json",
    "squash {file} {other} -o {out}/p.safetensors",
    "squash {file} {other} --max-rank 1 --redact -o {out}/p.safetensors",
    "export {file} --to card -o {out}/card.md",
    "export {file} --to peft --model {model} -o {out}/adapter",
    "annotate {file} -o {out}/p.safetensors --title other --redact=hashes",
    "apply {file} --model {model} -o {out}/m && stack {out}/m && stack {out}/m --json && verify {out}/m --base {model}",
    "apply {file} --model {model} -o {out}/m && revert {id} --model {out}/m && verify {out}/m",
)
"""Each may write into `out` and nowhere else; after `&&` what follows where the command before succeeds."""


@frozen
class Bench:
    """A model, a patch in order beside the one at hand, and where that and what is asked for go."""

    place: Path
    names: dict[str, Path] = field(init=False)

    @names.default
    def _names(self) -> dict[str, Path]:
        files = {name: self.place / f"{name}.safetensors" for name in ("file", "other")}
        return {**files, "model": self.place / "model", "out": self.place / "out"}

    def commands(self, line: str) -> Iterator[list[str]]:
        for part in line.split(" && "):
            patch_id = Patch.read_header(self.names["file"]).patch_id if "{id}" in part else ""
            yield [word.format(**self.names, id=patch_id) for word in part.split()]


def run(files: int = FILES) -> list[str]:
    outcomes = count(files)
    said = (
        f"{files:,} mutated files of a few kilobytes. Every one is refused with a message or read as valid, and {MET} "
        "commands meet each valid one: no exception, nothing written beyond the request, never more than "
        f"{SPACE // 2**20} MB beyond the process itself, less than {SECONDS:g} s of processor time; Python's memory "
        f"for reading within {FACTOR} times the size of the file beyond {BESIDE // 2**20} MB."
    )
    return [said, "", "| outcome | times |", "|---|---|", *(f"| {k} | {n:,} |" for k, n in sorted(outcomes.items()))]


def count(files: int) -> Counter[str]:
    """How reading so many files ends, and the commands on those that are valid."""
    rng = random.Random(0)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name, limited():
        bench = Bench(Path(name))
        patches = corpus(sample_patches.checkpoint(bench.names["model"]))
        sample_patches.patch(bench.names["model"], {sample_patches.KEYS[0]: "low_rank"}, seed=99).save(
            bench.names["other"]
        )
        written = []
        for patch in patches:
            patch.save(bench.names["file"])
            written.append(bench.names["file"].read_bytes())
            list(meet(bench, COMMANDS))  # in order, and afterwards all that they import is there
        for number in range(files):
            how = ("bytes", "content")[number % 2]
            if how == "bytes":
                bench.names["file"].write_bytes(mutate(rng, rng.choice(written)))
            else:
                forge(rng, patches).save(bench.names["file"])
            found, forms = read(bench)
            outcomes[f"{how}: {found}"] += 1
            if forms is not None:
                outcomes.update(f"valid with {form}" for form in forms)
                outcomes.update(meet(bench, rng.sample(COMMANDS, MET)))
    return outcomes


def read(bench: Bench) -> tuple[str, set[str] | None]:
    """How reading all of the file ends, and the forms that it holds where it ends well."""
    path = bench.names["file"]
    limit = FACTOR * path.stat().st_size + BESIDE
    outcome, memory = _measured(path)
    if memory >= limit:  # the interpreter's table of strings may have grown just then: 7.7 MB with 175,000 of them
        outcome, memory = _measured(path)
    assert memory < limit, f"{memory} bytes to read {path.stat().st_size}"
    return outcome


def _measured(path: Path) -> tuple[tuple[str, set[str] | None], int]:
    """What reading gives, and the most of Python's memory that it had."""
    tracemalloc.start()
    try:
        with timed(), capped(SPACE):
            patch = Patch.load(path)
        forms = {"groups" if t.groups else t.form.name for t in patch.targets.values()}
        outcome: tuple[str, set[str] | None] = "read as valid", forms or {str(patch.core["payload"]["kind"])}
    except EditcoreError as error:
        outcome = f"refused: {type(error).__name__}", None
    finally:
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return outcome, memory


def meet(bench: Bench, commands: Sequence[str]) -> Iterator[str]:
    """Run commands on the file; how each ends. Raises `AssertionError` where one fails in a way that is not told."""
    before = tree(bench.place)
    for line in commands:
        bench.names["out"].mkdir()
        ends = []
        with timed(), capped(SPACE):
            for command in bench.commands(line):
                code, said = call(command)
                ends.append(f"{command[0]}: exit code {code}")
                if code:
                    break
        assert "--debug" not in said, f"{line}: {said}"
        for shown in said.splitlines():
            assert shown.isprintable(), f"{line}: a line that a terminal could act on: {shown!r}"
            assert len(shown) < LONGEST, f"{line}: a message of {len(shown)} characters"
        shutil.rmtree(bench.names["out"])
        yield from ends
    assert tree(bench.place) == before, f"{commands} wrote elsewhere"


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Let what takes too long fail, for `timed`."""

    def stop(signal_: int, frame: FrameType | None) -> None:
        raise AssertionError(f"more than {SECONDS:g} s of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def timed() -> Iterator[None]:
    """Processor time of at most `SECONDS` for the body."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
