"""`python -m benchmarks.patches`: what a patch costs on disk, against plain copies and transformers, in one run.

A random Llama-shaped checkpoint of 1.5 GB in bfloat16, in shards. Each step runs in a process of its own, so that its
peak of memory is its own, and begins with nothing left to flush; what it reads is in the file cache. Steps take turns,
and of each the fastest run counts.

`cp` is that of coreutils on the touched shard, and returns when the bytes are in the file cache, where a power cut
loses them. `cp, flushed` is the same and then fsync: what every step of editcore does before its commit, and so what
they are compared with. MB written counts all that a step has to leave behind: weights, the kept original, the patches.
"""

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from attrs import frozen

from benchmarks.machine import describe_machine, peak_flops, peak_memory
from editcore.patches.arithmetic.rebuilding import BLOCK_ELEMENTS
from editcore.patches.change.copying import apply_to_copy
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.compare.diff import diff
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import to_stored
from editcore_hooks import LowRank

WIDTH, MLP, VOCABULARY = 2048, 5632, 32000
RANKS = (1, 300)
TOGETHER = 8
"""Patches of one command: of rank 1, on one tensor."""
MB, MIB = 10**6, 2**20


@frozen
class Step:
    """Something to time, and the bytes that it leaves written."""

    run: Callable[[Path], None]
    written: Callable[[Path], int]


def make(folder: Path, layers: int, shard: str) -> None:
    """The checkpoint, and a patch of each rank for one of its tensors."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=MLP, num_hidden_layers=layers,
        num_attention_heads=16, num_key_value_heads=16, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder / "model", max_shard_size=shard)
    opened = Checkpoint.open(folder / "model")
    key = edited(opened)
    for rank, number in [*((min(RANKS), i) for i in range(TOGETHER)), (max(RANKS), 0)]:
        update = LowRank(torch.randn(WIDTH, rank) * 1e-2, torch.randn(rank, MLP) * 1e-2)
        stored = to_stored(update, transposed=False)
        target = Target(stored, opened.entries[key].dtype, (WIDTH, MLP), opened.base_sha256(key))
        seal({key: target}, {"name": "model"}, {"title": f"rank {rank}"}).save(patch_file(folder, rank, number))


def edited(opened: Checkpoint) -> str:
    """The key that is patched: of the middle layer."""
    return f"model.layers.{opened.config['num_hidden_layers'] // 2}.mlp.down_proj.weight"


def patch_file(folder: Path, rank: int, number: int = 0) -> Path:
    return folder / f"rank{rank}-{number}.safetensors"


def touched(folder: Path) -> Path:
    """The shard that holds the edited tensor."""
    opened = Checkpoint.open(folder / "model")
    return opened.file(edited(opened))


def copy(flush: bool) -> Step:
    def run(folder: Path) -> None:
        target = folder / "copy.safetensors"
        subprocess.run(["cp", touched(folder), target], check=True)
        if flush:
            with target.open("rb") as file:
                os.fsync(file.fileno())

    return Step(run, _shard_bytes)


def apply(rank: int, count: int = 1) -> Step:
    def run(folder: Path) -> None:
        apply_on_disk(folder / "model", _patches(folder, rank, count))

    def written(folder: Path) -> int:
        return _shard_bytes(folder) + _kept_bytes(folder, rank, count)

    return Step(run, written)


def apply_to_another(rank: int) -> Step:
    """`apply -o`: every shard copied but the one that is rewritten."""

    def run(folder: Path) -> None:
        apply_to_copy(folder / "model", folder / "out", _patches(folder, rank))

    def written(folder: Path) -> int:
        return _model_bytes(folder) + _kept_bytes(folder, rank)

    return Step(run, written)


def _patches(folder: Path, rank: int, count: int = 1) -> list[Patch]:
    return [Patch.load(patch_file(folder, rank, number)) for number in range(count)]


def _kept_bytes(folder: Path, rank: int, count: int = 1) -> int:
    """The original of the tensor and the patches."""
    return 2 * WIDTH * MLP + sum(patch_file(folder, rank, number).stat().st_size for number in range(count))


def revert(folder: Path) -> None:
    revert_on_disk(folder / "model", Checkpoint.open(folder / "model").patch_ids)


def compare(folder: Path) -> None:
    """The patch against the folder that carries it: one tensor, from its file before and after."""
    diff(patch_file(folder, 1), folder / "model")


def transformers_way(folder: Path) -> None:
    """Load the model, add the delta, save the model."""
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    key, largest = edited(Checkpoint.open(folder / "model")), f"{_shard_bytes(folder) // MB + 1}MB"
    factors = load_file(patch_file(folder, 1))
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.bfloat16)
    state = model.state_dict()
    state[key] = (state[key].double() + factors[f"{key}/left"].double() @ factors[f"{key}/right"].double()).bfloat16()
    model.load_state_dict(state)
    model.save_pretrained(folder / "saved", max_shard_size=largest)


def _shard_bytes(folder: Path) -> int:
    return touched(folder).stat().st_size


def _model_bytes(folder: Path) -> int:
    opened = Checkpoint.open(folder / "model")
    return sum((opened.folder / name).stat().st_size for name in set(opened.shards.files.values()))


def _saved_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "saved").iterdir())


FLOOR = "cp, flushed"
STEPS = {
    "cp": copy(flush=False),
    FLOOR: copy(flush=True),
    "apply, rank 1": apply(1),
    f"apply, {TOGETHER} patches": apply(1, TOGETHER),
    "apply, rank 300": apply(300),
    "apply -o, rank 1": apply_to_another(1),
    "revert": Step(revert, _shard_bytes),
    "diff": Step(compare, lambda _: 0),
    "load_state_dict and save_pretrained": Step(transformers_way, _saved_bytes),
}


def before(step: str, folder: Path) -> None:
    """The base in the file cache, or with the patch on that `revert` and `diff` need; nothing left to flush."""
    if Checkpoint.open(folder / "model").patch_ids:
        revert(folder)
    if step in ("revert", "diff"):
        apply(1).run(folder)
    for left in (folder / "copy.safetensors", folder / "saved", folder / "out"):
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    for file in (folder / "model").glob("*.safetensors"):
        with file.open("rb") as opened:
            while opened.read(16 * MIB):
                pass
    os.sync()


def one(step: str, folder: Path) -> None:
    imported = peak_memory()
    gc.collect()  # what the imports left, which would be swept at some moment of the step
    started, worked = time.perf_counter(), time.process_time()
    STEPS[step].run(folder)
    seconds, processor = time.perf_counter() - started, time.process_time() - worked
    peak = peak_memory()
    found = {"seconds": seconds, "processor": processor, "peak": peak, "above": peak - imported}
    print(json.dumps({**found, "written": STEPS[step].written(folder)}))


def command_line(folder: Path, *arguments: str) -> float:
    """Seconds of a command, its process started and ended: the fastest of nine."""
    times = []
    for _ in range(9):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "editcore", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.patches", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to make 4 GB of files; default: a temporary folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=12, help="12 are 1.5 GB")
    parser.add_argument("--shard", default="800MB", metavar="SIZE", help="the largest shard; 2GB: one file of all")
    parser.add_argument("--step", choices=["make", "before", *STEPS], help=argparse.SUPPRESS)
    parser.add_argument("--of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step == "make":
        make(arguments.folder, arguments.layers, arguments.shard)
    elif arguments.step == "before":
        before(arguments.of, arguments.folder)
    elif arguments.step:
        one(arguments.step, arguments.folder)
    else:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            _measure(Path(name), arguments.rounds, arguments.layers, arguments.shard)


def _measure(folder: Path, rounds: int, layers: int, shard: str) -> None:
    # In processes of their own as well: this one stays small, and leaves memory to the file cache.
    _process("make", folder, "--layers", str(layers), "--shard", shard)
    runs: dict[str, list[dict[str, Any]]] = {step: [] for step in STEPS}
    for _ in range(rounds):
        for step in STEPS:
            _process("before", folder, "--of", step)
            runs[step].append(json.loads(_process(step, folder)))
    _process("before", folder, "--of", "revert")
    answers = {
        "inspect": command_line(folder, "inspect", patch_file(folder, 300).name),
        "stack": command_line(folder, "stack", "model"),
    }
    best = {step: min(found, key=lambda run: run["seconds"]) for step, found in runs.items()}
    _print(best, answers, folder)


def _process(step: str, folder: Path, *more: str) -> str:
    command = [sys.executable, "-m", "benchmarks.patches", "--step", step, "--folder", str(folder), *more]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def _print(best: dict[str, dict[str, Any]], answers: dict[str, float], folder: Path) -> None:
    opened = Checkpoint.open(folder / "model")
    speed = {step: run["written"] / run["seconds"] / MB for step, run in best.items()}
    print(describe_machine(torch.get_num_threads(), "bfloat16"))
    layers, whole = opened.config["num_hidden_layers"], f"{_model_bytes(folder) / MB:.0f} MB"
    print(f"random Llama, {layers} layers of {WIDTH}, {whole}; the touched shard {_shard_bytes(folder) / MB:.0f}\n")
    print(
        f"| step | MB written | seconds | of the processor | MB/s | of {FLOOR} | peak memory | above the imports |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    for step, run in best.items():
        print(
            f"| {step} | {run['written'] / MB:.0f} | {run['seconds']:.2f} | {run['processor']:.2f} | {speed[step]:.0f} "
            f"| {speed[step] / speed[FLOOR]:.2f} | {run['peak'] / MIB:.0f} MiB | {run['above'] / MIB:.0f} MiB |"
        )
    _print_products(best)
    print(f"\n`inspect` answers in {1000 * answers['inspect']:.0f} ms, `stack` in {1000 * answers['stack']:.0f} ms.")


def _print_products(best: dict[str, dict[str, Any]]) -> None:
    """Cost of the factors of the larger rank: their FLOP, and the machine's time for as many."""
    small, large = RANKS
    flop = 2 * WIDTH * MLP * large
    peak = peak_flops(BLOCK_ELEMENTS // MLP, large, MLP, torch.float64)
    more = best[f"apply, rank {large}"]["seconds"] - best[f"apply, rank {small}"]["seconds"]
    print(
        f"\nRank {large} is {flop / 1e9:.1f} GFLOP in float64: {flop / peak:.2f} s at the {peak / 1e9:.0f} GFLOP/s of "
        f"such a product here. It took {more:.2f} s more than rank {small}, which is {flop / more / 1e9:.0f} GFLOP/s."
    )


if __name__ == "__main__":
    main()
