"""`python -m benchmarks.patches`: what a patch costs on disk, against plain copies and transformers, in one run.

A random Llama-shaped checkpoint of 1.5 GB in bfloat16, in shards. Each step runs in a process of its own, so that its
peak of memory is its own. A copy of the file that a patch must write, flushed to the disk as a patch is, is the floor.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe_machine
from editcore.patches.checkpoint import Checkpoint
from editcore.patches.deltas import to_stored
from editcore.patches.ondisk import apply_on_disk, revert_on_disk
from editcore.patches.patch import Patch
from editcore.patches.sealing import Target, seal
from editcore_hooks import LowRank

KEY = "model.layers.5.mlp.down_proj.weight"
WIDTH, MLP, LAYERS, VOCABULARY = 2048, 5632, 12, 32000
RANKS = (1, 300)


def make(folder: Path) -> None:
    """The checkpoint, and a patch of each rank for one of its tensors."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=MLP, num_hidden_layers=LAYERS,
        num_attention_heads=16, num_key_value_heads=16, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder / "model", max_shard_size="400MB")
    opened = Checkpoint.open(folder / "model")
    entry = opened.entries[KEY]
    for rank in RANKS:
        update = LowRank(torch.randn(WIDTH, rank) * 1e-2, torch.randn(rank, MLP) * 1e-2)
        target = Target(to_stored(update, transposed=False), entry.dtype, entry.shape, opened.base_sha256(KEY))
        seal({KEY: target}, {"name": "model"}, {"title": f"rank {rank}"}).save(folder / f"rank{rank}.safetensors")


def shard(folder: Path) -> Path:
    index = json.loads((folder / "model" / "model.safetensors.index.json").read_text())
    return folder / "model" / index["weight_map"][KEY]


def copy(folder: Path) -> None:
    """The shard that is touched, byte by byte, and flushed."""
    target = folder / "copy.safetensors"
    with shard(folder).open("rb") as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, 2**22)
        file.flush()
        os.fsync(file.fileno())


def apply_rank(rank: int) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        apply_on_disk(folder / "model", [Patch.load(folder / f"rank{rank}.safetensors")])

    return apply


def undo(folder: Path) -> None:
    opened = Checkpoint.open(folder / "model")
    if opened.patch_ids:
        revert_on_disk(folder / "model", list(opened.patch_ids))
    for left in (folder / "copy.safetensors", folder / "saved"):
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def transformers_way(folder: Path) -> None:
    """Load the model, add the delta, save the model."""
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    factors = load_file(folder / "rank1.safetensors")
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.bfloat16)
    state = model.state_dict()
    state[KEY] = (state[KEY].double() + factors[f"{KEY}/left"].double() @ factors[f"{KEY}/right"].double()).bfloat16()
    model.load_state_dict(state)
    model.save_pretrained(folder / "saved", max_shard_size="400MB")


STEPS: dict[str, Callable[[Path], None]] = {
    "copy of the shard": copy,
    "apply, rank 1": apply_rank(1),
    "apply, rank 300": apply_rank(300),
    "load_state_dict and save_pretrained": transformers_way,
}


def one(step: str, folder: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    STEPS[step](folder)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "peak_mib": peak / 1024, "above_mib": (peak - before) / 1024}))


def command_line(folder: Path, *arguments: str) -> float:
    """Milliseconds of a command, the median of seven."""
    editcore = Path(sys.executable).with_name("editcore")
    times = []
    for _ in range(7):
        started = time.perf_counter()
        subprocess.run([editcore, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.patches", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to make 3 GB of files; default: a temporary folder")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--step", choices=sorted(STEPS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        one(arguments.step, arguments.folder)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        make(folder)
        found = {step: _measured(step, folder, arguments.repeats) for step in STEPS}
        apply_rank(1)(folder)
        answers = {
            "inspect": command_line(folder, "inspect", "rank300.safetensors"),
            "stack": command_line(folder, "stack", "model"),
        }
        _print(found, answers, shard(folder).stat().st_size)


def _measured(step: str, folder: Path, repeats: int) -> dict[str, Any]:
    """The fastest of several runs, each on the base."""
    runs = []
    for _ in range(repeats):
        undo(folder)
        command = [sys.executable, "-m", "benchmarks.patches", "--step", step, "--folder", str(folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        runs.append(json.loads(done.stdout))
    undo(folder)
    best: dict[str, Any] = min(runs, key=lambda run: run["seconds"])
    return best


def _print(found: dict[str, dict[str, Any]], answers: dict[str, float], size: int) -> None:
    floor = found["copy of the shard"]["seconds"]
    print(describe_machine(torch.get_num_threads()))
    print(
        f"random Llama, {LAYERS} layers of {WIDTH}, bfloat16 in shards; the shard that is touched has {size:,} bytes\n"
    )
    print("| step | seconds | of the copy's speed | peak memory | above the imports |\n|---|---|---|---|---|")
    for step, run in found.items():
        print(
            f"| {step} | {run['seconds']:.2f} | {floor / run['seconds']:.2f} | {run['peak_mib']:.0f} MiB "
            f"| {run['above_mib']:.0f} MiB |"
        )
    print(f"\n`inspect` answers in {answers['inspect']:.0f} ms, `stack` in {answers['stack']:.0f} ms.")


if __name__ == "__main__":
    main()
