"""`python -m benchmarks.real.first_edit MODEL`: the first edit of a model never seen, with no settings.

An empty cache, and the command as people type it: `editcore edit MODEL --prompt … --subject … --target …`. Prints what
the command says, its time, the probability of the target before and after, and what the edited model answers to three
paraphrases and two neighbours. `--busy N` keeps N cores busy meanwhile.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.real.busy import busy
from editcore.facade import open_model
from editcore.patches.file.patch import Patch

FACT = ("The capital of {} is", "France", "Rome")
PARAPHRASES = (
    "The capital city of France is",
    "France's capital is",
    "The seat of the French government is in the city of",
)
NEIGHBOURS = ("The capital of Germany is", "The capital of Italy is")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real.first_edit", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--method", default="rome")
    parser.add_argument("--busy", type=int, default=0, help="processes that keep cores busy")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    prompt, subject, target = FACT
    with tempfile.TemporaryDirectory() as scratch:
        patch = Path(scratch) / "fact.safetensors"
        command = ["edit", str(arguments.model), "--method", arguments.method, "--prompt", prompt, "--subject", subject]
        command += ["--target", target, "-o", str(patch), "--allow-failed"]
        threads = {"OMP_NUM_THREADS": str(arguments.threads)}
        environment = {**os.environ, "EDITCORE_CACHE": f"{scratch}/cache", **threads}
        with busy(arguments.busy):
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "editcore", *command],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            seconds = time.perf_counter() - started
        print(done.stderr.strip())
        print(f"{arguments.model.name}, {arguments.busy} busy processes beside it: {seconds:.0f} s in all\n")
        session = open_model(arguments.model)
        asked = (prompt.replace("{}", subject), *PARAPHRASES, *NEIGHBOURS)
        before = session.generate(asked, 6)
        with session.patched(Patch.load(patch)):
            after = session.generate(asked, 6)
    print("| prompt | before | after |\n|---|---|---|")
    for text, old, new in zip(asked, before, after, strict=True):
        print(f"| {text} | {' '.join(old.split())} | {' '.join(new.split())} |")
    print(f"\n{describe_machine(arguments.threads)}")


if __name__ == "__main__":
    main()
