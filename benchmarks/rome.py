"""`python -m benchmarks.rome`: seconds and peak memory of one ROME edit, against plain full forwards, in one run.

A random model of GPT-2 medium's shape; rows are random ids. Both ways compute the same maths: keys, the value by Adam
with early stop off, u = C⁻¹k, and the rank-one update. Each runs in a process of its own, and its peak is counted from
what the process holds once model and statistics are there; before it, a matrix product of the model's size says what
the machine can do.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from benchmarks.machine import describe_machine, peak_flops, peak_memory, start_peak
from benchmarks.rome_ways import (
    CONTEXTS,
    COUNTED,
    PROMPT,
    SHAPES,
    TAIL,
    WAYS,
    Shape,
    floor_flops,
    moment,
    reordered,
    rows,
)
from benchmarks.rome_ways import model as made_model
from editcore_keyvalue.cholesky import factor

REPEATS: Final = {"plain": 2, "fast": 3}
"""The plain way takes a minute or two. The last run of each way has the contexts in another order."""


def one(way: str, threads: int, shape: Shape, out: Path) -> None:
    """Run one way, and leave its deltas in `out`: the first, and that of the last run."""
    from attrs import evolve

    torch.set_num_threads(threads)
    anatomy, edit = made_model(shape), rows(shape)
    lower = factor(moment(4 * shape.width), 1e-6)
    machine = peak_flops()
    WAYS[way](anatomy, edit, lower, evolve(shape, steps=2))  # to warm up: allocator and kernels
    before = start_peak()
    edits = [*[edit] * (REPEATS[way] - 1), reordered(edit)]
    runs = [WAYS[way](anatomy, each, lower, shape) for each in edits]
    memory = peak_memory() - before
    torch.save([{"lam": run.lam, "u": run.u} for run in (runs[0], runs[-1])], out)
    seconds = [run.seconds for run in runs]
    print(json.dumps({"seconds": seconds, "mib": memory / 2**20, "loss": runs[0].loss, "machine": machine}))


def apart(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """‖A − B‖ / ‖A‖ of two rank-one updates."""
    one, other = (torch.outer(each["lam"], each["u"]) for each in (a, b))
    return float((one - other).norm() / one.norm())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rome", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--facts", type=int, default=200, help="of the demo, for what early stops cost; 0: none")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="medium", help="tiny: to see that it runs")
    parser.add_argument("--way", choices=sorted(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    shape = SHAPES[arguments.shape]
    if arguments.way:
        one(arguments.way, arguments.threads, shape, arguments.out)
        return
    found, deltas = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            out = f"{folder}/{way}.pt"
            command = [sys.executable, "-m", "benchmarks.rome", "--way", way, "--out", out, "--shape", arguments.shape]
            done = subprocess.run([*command, "--threads", str(arguments.threads)], stdout=subprocess.PIPE, check=True)
            found[way] = json.loads(done.stdout)
            deltas[way] = torch.load(out, weights_only=True)
    _print(found, deltas, arguments.threads, shape)
    if arguments.facts:
        from benchmarks.rome_stops import print_stops

        print_stops(arguments.facts, arguments.threads)


def _print(
    found: dict[str, dict[str, Any]], deltas: dict[str, list[dict[str, Tensor]]], threads: int, shape: Shape
) -> None:
    seconds = {way: min(one["seconds"]) for way, one in found.items()}
    machine = found["fast"]["machine"]
    floor = floor_flops(shape) / machine
    print(describe_machine(threads))
    print(
        f"random GPT-2, {shape.layers} layers of {shape.width}, vocabulary {shape.vocabulary}; layer {shape.layer}, "
        f"prompt {PROMPT} tokens, {TAIL} from s on, {len(CONTEXTS)} contexts, {shape.steps} steps, early stop off\n"
    )
    print("| way | seconds, best of its runs | all runs | peak memory above the model | last loss |")
    print("|---|---|---|---|---|")
    for way, one in found.items():
        every = ", ".join(f"{s:.2f}" for s in one["seconds"])
        print(f"| {way} | {seconds[way]:.2f} | {every} | {one['mib']:.0f} MiB | {one['loss']:.4f} |")
    (plain, plain_again), (fast, fast_again) = deltas["plain"], deltas["fast"]
    print(
        f"\n{seconds['plain'] / seconds['fast']:.1f} times faster; the deltas differ by {apart(plain, fast):.1e} of "
        f"their norm, to be read against rounding: 2⁻²⁴ of float32, times √f of a dot product and {shape.steps} steps "
        f"that build on each other, is {shape.rounding:.1e}. With its contexts in another order the plain way "
        f"differs from itself by {apart(plain, plain_again):.1e}, the fast way by {apart(fast, fast_again):.1e}."
    )
    print(
        f"Floor: {floor_flops(shape) / 1e9:.0f} GFLOP, {floor:.2f} s at the {machine / 1e9:.0f} GFLOP/s of a "
        f"matrix product of this size; the fast way takes {seconds['fast'] / floor:.1f} times that. "
        f"The floor counts {COUNTED}."
    )


if __name__ == "__main__":
    main()
