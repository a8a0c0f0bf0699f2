"""Real SIGKILLs of apply, revert and `apply -o` at random moments: the folder is in the old state or the new one."""

import contextlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from checks import models
from editcore.patches.change.ondisk import apply_on_disk
from editcore.patches.change.repairing import repair
from editcore.patches.checkpoint.fingerprint import file_sha256
from editcore.patches.checkpoint.folder import Checkpoint
from editcore_hooks import UsageError

KILLS = 40
_APPLY = """
import sys
from editcore.applying.change import Change
from editcore.patches.file.patch import Patch
from editcore.plugins.registry import Registry
patch, folder, unwatched = Patch.load(sys.argv[2]), sys.argv[1], Registry.of()
print("ready", flush=True)
Change.open(folder, [patch]).commit(unwatched)
"""
_COPY = """
import sys
from pathlib import Path
from editcore.applying.change import Change
from editcore.patches.file.patch import Patch
from editcore.plugins.registry import Registry
import editcore.patches.arithmetic.rebuilding
patch, folder, unwatched = Patch.load(sys.argv[2]), Path(sys.argv[1]), Registry.of()
print("ready", flush=True)
Change.open(folder, [patch]).commit_to_copy(folder.with_name("out"), unwatched)
"""
_REVERT = """
import sys
import editcore.patches.arithmetic.rebuilding
from editcore.applying.change import Change
print("ready", flush=True)
Change.open(sys.argv[1], remove=[sys.argv[2]]).commit()
"""


def run() -> list[str]:
    rng = random.Random(0)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for kind, make in (("single", models.single), ("sharded", models.sharded)):
            base = make(place / kind)
            patch = models.patches(base, 1)[0]
            patch.save(place / f"{kind}.safetensors")
            patched = place / f"{kind}-patched"
            shutil.copytree(base, patched)
            apply_on_disk(Checkpoint.open(patched), [patch])
            states = {"base": _weights(base), "patched": _weights(patched)}
            jobs = (
                ("apply", base, _APPLY, str(place / f"{kind}.safetensors")),
                ("revert", patched, _REVERT, patch.patch_id),
            )
            for verb, start, code, argument in jobs:
                whole = _seconds(place, start, code, argument)
                for _ in range(KILLS // 4):
                    work = place / "work"
                    shutil.copytree(start, work)
                    killed = _kill(code, work, argument, rng.uniform(0, whole * 1.1))
                    repair(work)
                    (state,) = (name for name, weights in states.items() if weights == _weights(work))
                    outcomes[f"{kind} {verb}: {'killed' if killed else 'finished first'}, then {state}"] += 1
                    shutil.rmtree(work)
            whole = _seconds(place, base, _COPY, str(place / f"{kind}.safetensors"))
            for _ in range(KILLS // 4):
                outcomes[_copied(place, base, states, rng.uniform(0, whole * 1.1), kind)] += 1
    total = sum(outcomes.values())
    rows = [f"| {what} | {count} |" for what, count in sorted(outcomes.items())]
    said = f"{total} runs, every folder in the old or the new state after `repair`."
    return [said, "", "| what | runs |", "|---|---|", *rows]


def _copied(place: Path, base: Path, states: dict[str, dict[str, str]], after: float, kind: str) -> str:
    """Kill a copy that is being made; there is nothing afterwards, or all of it, and the base is as it was."""
    here, out = place / "copying", place / "copying" / "out"
    shutil.copytree(base, here / "work")
    killed = _kill(_COPY, here / "work", str(place / f"{kind}.safetensors"), after)
    with contextlib.suppress(UsageError):  # there is nothing to repair
        repair(out)
    assert _weights(here / "work") == states["base"]
    assert not out.exists() or _weights(out) == states["patched"]
    assert {path.name for path in here.iterdir()} == ({"work", "out"} if out.exists() else {"work"})
    came = "whole" if out.exists() else "none"
    shutil.rmtree(here)
    return f"{kind} apply -o: {'killed' if killed else 'finished first'}, then {came}"


def _weights(folder: Path) -> dict[str, str]:
    """Every file that counts, by content: leftovers would show."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "hashes.json")
    return {str(path.relative_to(folder)): file_sha256(path) for path in files}


def _seconds(place: Path, start: Path, code: str, argument: str) -> float:
    work = place / "timing" / "work"
    shutil.copytree(start, work)
    process = _start(code, work, argument)
    began = time.perf_counter()
    assert process.wait() == 0
    shutil.rmtree(work.parent)
    return time.perf_counter() - began


def _kill(code: str, folder: Path, argument: str, after: float) -> bool:
    process = _start(code, folder, argument)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def _start(code: str, folder: Path, argument: str) -> "subprocess.Popen[str]":
    """Start, and return when the imports are done, so that the kill falls into the work."""
    process = subprocess.Popen([sys.executable, "-c", code, str(folder), argument], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process
