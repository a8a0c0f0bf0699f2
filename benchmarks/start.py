"""`python -m benchmarks.start MODEL`: an edit with no settings at all, of a local folder that editcore has never seen.

MODEL is copied, and the cache is an empty folder: there are no statistics and no profile. Then come `edit`, which looks
for facts, collects statistics and tunes, `apply --in-place` and `revert`, each the command as people type it. Where a
preset is shipped for the model `edit` would not tune; there `tune` goes before it, and its time counts with it.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field

from benchmarks.machine import describe_machine
from editcore.facade import open_model
from editcore_demo import cases


@define
class Commands:
    """Runs the command line; `seconds` has how long the first of each command took, in their order."""

    environment: Mapping[str, str]
    seconds: dict[str, float] = field(factory=dict)
    said: list[str] = field(factory=list)

    def run(self, *arguments: str) -> Any:
        """The JSON output of a command."""
        started = time.perf_counter()
        command = [sys.executable, "-m", "editcore", *arguments, "--json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        self.seconds.setdefault(arguments[0], time.perf_counter() - started)
        self.said += done.stderr.splitlines()
        if done.returncode:
            raise SystemExit(done.stderr)
        return json.loads(done.stdout)


def digest(folder: Path) -> str:
    """The sha256 of every byte of the folder's files, by their names."""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file():
            whole.update(path.name.encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()


def has_preset(folder: Path, method: str) -> bool:
    session = open_model(folder)
    return bool(session.registry.method(method).preset({**session.traits(), "edits": 1}))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("model", type=Path, help="folder of a model; with its cases.jsonl no fact need be given")
    parser.add_argument("--method", default="rome")
    parser.add_argument("--prompt", help="else the first of the cases")
    parser.add_argument("--subject")
    parser.add_argument("--target")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.prompt:
        fact = {"prompt": arguments.prompt, "subject": arguments.subject, "target_new": arguments.target}
    else:
        (fact,) = cases(1, arguments.model)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        shutil.copytree(arguments.model, folder)
        threads = str(arguments.threads)
        environment = {**os.environ, "EDITCORE_CACHE": f"{scratch}/cache", "OMP_NUM_THREADS": threads}
        _start(Commands(environment), folder, fact, arguments.method, f"{scratch}/patch.safetensors")
    print(f"\n{describe_machine(arguments.threads)}")


def _start(commands: Commands, folder: Path, fact: Mapping[str, str], method: str, patch: str) -> None:
    before = digest(folder)
    tuned = has_preset(folder, method)
    if tuned:
        commands.run("tune", str(folder), "--method", method)
    words = ("--prompt", fact["prompt"], "--subject", fact["subject"], "--target", fact["target_new"])
    edited = commands.run("edit", str(folder), "--method", method, *words, "-o", patch, "--allow-failed")
    (profile,) = commands.run("tune", str(folder), "--list", "--method", method)
    commands.run("apply", patch, "--model", str(folder), "--in-place")
    between = digest(folder)
    (row,) = edited["patches"]
    commands.run("revert", row["id"], "--model", str(folder))
    after = digest(folder)
    (effect,) = row["p_target"]
    first = commands.seconds["edit"] + (commands.seconds["tune"] if tuned else 0.0)
    print(f"{fact['prompt'].replace('{}', fact['subject'])} … {fact['target_new']}, no settings given")
    for line in commands.said:
        if line.startswith(("tuning", "estimated", "stopped", "no second moments", "settings")):
            print(f"    {line}")
    preset = " (tune and edit: a preset would have been used)" if tuned else ""
    print(f"first edit{preset}: {first:.0f} s, of 180 that are the aim")
    phases = ", ".join(f"{name} {took:.1f} s" for name, took in profile["phases"].items())
    print(
        f"tuning: {phases}, on {profile['n_facts']} facts; estimated {profile['estimate']} s, took {profile['seconds']}"
    )
    print(f"settings: {edited['settings']}, {profile['hparams']}")
    print(f"p(target): {effect['before']:.3g} -> {effect['after']:.3g}, {'took' if effect['took'] else 'did not take'}")
    shown = {name: took for name, took in commands.seconds.items() if tuned or name != "tune"}
    seconds = ", ".join(f"{name} {took:.1f} s" for name, took in shown.items())
    print(f"commands: {seconds}")
    print(f"sha256 of the folder: {before[:16]} before, {between[:16]} applied, {after[:16]} reverted")
    print("the bytes are those of the base again" if before == after else "THE BYTES DIFFER FROM THE BASE")


if __name__ == "__main__":
    main()
