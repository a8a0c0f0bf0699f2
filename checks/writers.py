"""Two real processes that write one folder at the same moment, and a reader meanwhile: who is too late is refused, and
the folder always verifies."""

import contextlib
import itertools
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from attrs import define, field

from checks import sample_patches
from checks.changes import State, loaded
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.compare.verification import verify_folder
from editcore.patches.file.patch import Patch

ROUNDS: Final = 120
_WORKER: Final = """
import contextlib, io, json, sys, time
import torch
from editcore.cli import main
import editcore.patches.change.ondisk, editcore.patches.file.sealing, editcore.applying.change
torch.set_num_threads(1)
print(json.dumps({}), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    out, err = io.StringIO(), io.StringIO()
    while time.monotonic() < order["at"]:
        pass
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*order["arguments"], "-q"])
    print(json.dumps({"code": code, "said": err.getvalue()}), flush=True)
"""
_REFUSED: Final = re.compile(
    r"error: .*(another editcore is writing|was changed while|was changed after it was opened).*\nhint: .*\n"
)


class Writer:
    """A process that runs command lines at the moment it is told to."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.answer()

    def order(self, at: float, arguments: Sequence[str]) -> None:
        assert self.process.stdin is not None
        print(json.dumps({"at": at, "arguments": list(arguments)}), file=self.process.stdin, flush=True)

    def answer(self) -> Mapping[str, Any]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())  # type: ignore[no-any-return]

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@define(eq=False)
class Reader(threading.Thread):
    """Loads the folder again and again; a load that fails because its files went is no state."""

    folder: Path
    states: list[State] = field(factory=list)
    loads: int = 0
    stopping: bool = False
    failure: Exception | None = None

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def run(self) -> None:
        while not self.stopping:
            try:
                state = loaded(self.folder)
            except Exception as error:
                # safetensors says so in two ways, after the moment at which the file went.
                if "No such file" not in str(error):
                    self.failure = error
                    return
                continue
            self.loads += 1
            if state not in self.states:
                self.states.append(state)


def run() -> list[str]:
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        for sharded in (False, True):
            seen += race(Path(name), sharded, ROUNDS // 2)
    said = (
        f"{ROUNDS} rounds of two processes that apply or revert in one folder at the same moment: at least one "
        "succeeded, the other succeeded before or after it or was refused with exit code 4, the folder verified, and "
        f"each of {seen.pop('loads'):,} loads meanwhile saw one state."
    )
    return [
        said,
        "",
        "| both at once | rounds |",
        "|---|---|",
        *(f"| {what} | {n} |" for what, n in sorted(seen.items())),
    ]


def race(place: Path, sharded: bool, rounds: int) -> Counter[str]:
    """`rounds` rounds on one folder; count what each brought."""
    layout = "sharded" if sharded else "single file"
    folder = sample_patches.checkpoint(place / layout, torch.bfloat16, sharded)
    patches = [
        sample_patches.patch(folder, {sample_patches.KEYS[0]: "low_rank", sample_patches.KEYS[1]: "dense"}, seed=1),
        sample_patches.patch(folder, {sample_patches.KEYS[0]: "sparse", sample_patches.KEYS[2]: "rows"}, seed=2),
    ]
    files = [str(place / f"{layout} {number}.safetensors") for number in range(2)]
    for patch, file in zip(patches, files, strict=True):
        patch.save(file)
    known = _states(place / f"{layout} copy", folder, patches)
    reader = Reader(folder)
    seen: Counter[str] = Counter()
    with _two() as writers:
        reader.start()
        try:
            for number in range(rounds):
                seen[f"{layout}: {_round(folder, patches, files, writers, number)}"] += 1
        finally:
            reader.stopping = True
            reader.join()
    if reader.failure is not None:
        raise reader.failure
    assert all(state in known for state in reader.states), "a reader saw a mixture"
    seen["loads"] = reader.loads
    return seen


@contextlib.contextmanager
def _two() -> Iterator[list[Writer]]:
    writers = [Writer(), Writer()]
    try:
        yield writers
    finally:
        for writer in writers:
            writer.stop()


def _states(copy: Path, folder: Path, patches: Sequence[Patch]) -> list[State]:
    """Every state that the folder may be in: none, one, the other, both."""
    states = []
    sample_patches.copy(folder, copy)
    for size in range(3):
        for some in itertools.combinations(patches, size):
            if some:
                apply_on_disk(copy, some)
            states.append(loaded(copy))
            if some:
                revert_on_disk(copy, [patch.patch_id for patch in some])
    return states


def _round(folder: Path, patches: Sequence[Patch], files: Sequence[str], writers: Sequence[Writer], number: int) -> str:
    """Each writer takes its patch off where it is on and puts it on where it is not."""
    before = set(Checkpoint.open(folder).patch_ids)
    orders = [
        ["revert", patch.patch_id, "--model", str(folder)]
        if patch.patch_id in before
        else ["apply", file, "--model", str(folder), "--in-place"]
        for patch, file in zip(patches, files, strict=True)
    ]
    # A little apart, sometimes this one first and sometimes that one: otherwise they would meet in one place only.
    start, apart = time.monotonic() + 0.02, (number % 11 - 5) * 0.004
    for writer, order, at in zip(writers, orders, (start, start + apart), strict=True):
        writer.order(at, order)
    answers = [writer.answer() for writer in writers]
    done = {patch.patch_id for patch, answer in zip(patches, answers, strict=True) if answer["code"] == 0}
    for answer in answers:
        said = answer["said"]
        refused = answer["code"] == 4 and _REFUSED.fullmatch(said)
        assert answer["code"] == 0 or refused, f"exit code {answer['code']}: {said}"
    assert done, "each refused the other"
    found = verify_folder(folder)
    assert (found.problems, found.notices) == ((), ())
    assert set(Checkpoint.open(folder).patch_ids) == before ^ done
    return "one did its work, one was refused" if len(done) == 1 else "one after the other"
