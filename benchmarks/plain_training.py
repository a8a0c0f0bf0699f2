"""What `benchmarks.ft` and `benchmarks.ice` share: a random model, a session of it, and two ways timed in one run."""

import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

import torch
from attrs import frozen
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.machine import describe_machine, peak_memory, start_peak
from editcore.models.anatomy.model_map import Anatomy


@frozen
class Shape:
    """A GPT-2-shaped model; rows of random ids: a prompt of `prompt` tokens, a target, contexts before the prompt."""

    layers: int
    width: int
    vocabulary: int
    steps: int
    prompt: int = 12
    target: int = 3
    context: int = 18


SHAPES: Final[Mapping[str, Shape]] = {
    "medium": Shape(24, 1024, 50257, 25),
    "small": Shape(12, 512, 16384, 5),
    "tiny": Shape(4, 64, 300, 2),
}


@frozen
class Run:
    """One edit, or several: wall and processor seconds, the loss of each step, the delta of each edit."""

    seconds: float
    processor: float
    losses: tuple[float, ...]
    deltas: tuple[Tensor, ...]


def open_random(shape: Shape) -> Any:
    """What the methods read of a session: model and anatomy."""
    torch.manual_seed(0)
    config = GPT2Config(
        bos_token_id=0,
        eos_token_id=0,
        n_layer=shape.layers,
        n_embd=shape.width,
        n_head=max(shape.width // 64, 1),
        vocab_size=shape.vocabulary,
    )
    model = GPT2LMHeadModel(config).eval().requires_grad_(False)
    return SimpleNamespace(model=model, anatomy=Anatomy.of(model), live=SimpleNamespace(patches=()), seed=0)


def random_ids(shape: Shape, n: int, seed: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(1, shape.vocabulary, (n,), generator=generator).tolist())


def timed(work: Callable[[], tuple[Sequence[float], Sequence[Tensor]]]) -> Run:
    wall, processor = time.perf_counter(), time.process_time()
    losses, deltas = work()
    return Run(time.perf_counter() - wall, time.process_time() - processor, tuple(losses), tuple(deltas))


def compare(ways: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, tuple[list[Run], float]]:
    """The ways in turn, `repeats` times; the runs of each, and its peak of memory above what is held, in MiB."""
    found: dict[str, tuple[list[Run], float]] = {}
    for _ in range(repeats):
        for way, work in ways.items():
            before = start_peak()
            run = timed(work)
            runs, peak = found.get(way, ([], 0.0))
            found[way] = ([*runs, run], max(peak, (peak_memory() - before) / 2**20))
    return found


def print_table(found: Mapping[str, tuple[list[Run], float]], model: Any, threads: int, edits: int) -> None:
    """A line for each way, and the ratio of the first to every other."""
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()) / 2**20
    print(describe_machine(threads))
    print(
        f"model {size:.0f} MiB; {edits} edits; processor seconds count what this process was given, wall seconds wait\n"
    )
    print("| way | processor seconds, best | wall seconds, best | peak above the model | first loss | last loss |")
    print("|---|---|---|---|---|---|")
    best = {way: min(run.processor for run in runs) for way, (runs, _) in found.items()}
    for way, (runs, peak) in found.items():
        wall = min(run.seconds for run in runs)
        losses = runs[0].losses
        print(f"| {way} | {best[way]:.2f} | {wall:.2f} | {peak:.0f} MiB | {losses[0]:.5f} | {losses[-1]:.5f} |")
    (plain, *others) = found
    for way in others:
        one, other = found[plain][0][0], found[way][0][0]
        apart = max(float((a - b).norm() / a.norm()) for a, b in zip(one.deltas, other.deltas, strict=True))
        losses = max(abs(a - b) for a, b in zip(one.losses, other.losses, strict=True))
        print(
            f"\n{plain} takes {best[plain] / best[way]:.1f} times the processor time of {way}; losses differ by "
            f"{losses:.1e} at most, deltas by {apart:.1e} of their norm."
        )
