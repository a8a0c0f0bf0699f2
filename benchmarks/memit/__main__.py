"""`python -m benchmarks.memit`: seconds of a batch of MEMIT edits, against plain full forwards, in one run.

A random model of GPT-2 medium's shape; rows are random ids, three layers, early stop off. The plain way, in float32, is
measured on a few edits and scaled: its values and keys take the same time for every edit. What it gives for those few
edits is compared with what the fast way gives for them.

`--shape 6b` measures the fast way alone, in phases, so that a stopped run resumes: the slope, the floor and
the peak of memory. `--demo 500` compares what the edits do, on the demo model, in place of all this.
"""

import argparse
from functools import partial
from pathlib import Path

import torch

from benchmarks.machine import describe_machine, peak_flops
from benchmarks.memit.fast import fast, in_phases, peak
from benchmarks.memit.plain import Made, Problem, in_float64, plain
from benchmarks.memit.shapes import (
    CONTEXTS,
    PROMPT,
    SETTINGS,
    SHAPES,
    SUBJECT_END,
    TARGET,
    WEIGHT,
    Shape,
    floor_flops,
    model,
    moment,
    rows,
)
from editcore_keyvalue.cholesky import factor

GROWTH = (1, 10, 100, 1000)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memit", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="medium")
    parser.add_argument("--dtype", choices=sorted(DTYPES), action="append", help="of the blocks; may be given twice")
    parser.add_argument("--device", default="cpu", help="of the phases; the comparison is on the processor")
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument(
        "--plain", type=int, default=4, help="edits on which the plain way is measured; 0: phases alone"
    )
    parser.add_argument(
        "--exact", action="store_true", help="the plain way in float64 too: how far float32 is from it, either way"
    )
    parser.add_argument("--most", type=int, default=1000, help="edits up to which growth is measured; 0: not at all")
    parser.add_argument("--folder", type=Path, default=Path("memit-phases"), help="where the phases are kept")
    parser.add_argument(
        "--demo", type=int, default=0, metavar="N", help="compare outcomes of N edits of the demo model"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    dtypes = arguments.dtype or ["float32"]
    shape = SHAPES[arguments.shape]
    if arguments.demo:
        from benchmarks.memit.demo import compare

        compare(arguments.demo, arguments.threads)
    elif arguments.shape == "6b" or not arguments.plain:
        folder = arguments.folder / f"{arguments.shape}-{dtypes[0]}"
        _phases(shape, arguments.edits, dtypes[0], arguments.device, folder)
    else:
        _compare(shape, arguments.edits, arguments.plain, arguments.most, dtypes, arguments.threads, arguments.exact)


def _about(shape: Shape, n: int) -> str:
    return (
        f"random GPT-2, {shape.n_layers} layers of {shape.width}, {shape.vocabulary} tokens; edited {shape.edited}, "
        f"prompt {PROMPT} tokens, {PROMPT - SUBJECT_END + TARGET} from s on, {len(CONTEXTS)} contexts, "
        f"{SETTINGS.steps} steps, no early stop; {n} edits\n"
    )


def _compare(shape: Shape, n: int, n_plain: int, most: int, dtypes: list[str], threads: int, exact: bool) -> None:
    print(describe_machine(threads, ", ".join(dtypes)))
    print(_about(shape, n))
    edits, mean = rows(max(n, most), shape.vocabulary), moment(4 * shape.width, "cpu")
    lower = factor(mean, 1e-6)
    c = lower @ lower.T
    few = edits[:n_plain]
    anatomy = model(shape, torch.float32, "cpu")
    problem = Problem(anatomy, shape.edited, SETTINGS, WEIGHT, dict.fromkeys(shape.edited, c))
    plain(problem, few[:1])  # to warm up: allocator and kernels
    slow = plain(problem, few, n)
    true = in_float64(problem, few) if exact else None
    print("| way | values s | keys and outputs s | solution s | all s | times faster | deltas differ by |")
    print("|---|---|---|---|---|---|---|")
    parts = slow.seconds
    print(
        f"| plain, float32, from {len(few)} edits | {parts['values']:.1f} | {parts['keys']:.1f} | "
        f"{parts['solution']:.1f} | {slow.total:.1f} | | |",
        flush=True,
    )
    found: dict[str, Made] = {}
    rounding: dict[str, Made] = {"plain, float32": slow}
    for dtype in dtypes:
        if dtype != "float32":
            anatomy.model.to(DTYPES[dtype])
        fast(anatomy, shape, edits[:2], lower)  # to warm up
        same, found[dtype] = fast(anatomy, shape, few, lower), fast(anatomy, shape, edits[:n], lower)
        apart = _apart(slow, same)
        rounding[f"fast, {dtype}"] = same
        seconds = found[dtype].seconds
        print(
            f"| fast, {dtype} | {seconds['values']:.1f} | {seconds['layers']:.1f} with the solution | | "
            f"{found[dtype].total:.1f} | {slow.total / found[dtype].total:.1f} | {apart:.1e} |",
            flush=True,
        )
    _print_floor(shape, {dtype: made.seconds["values"] / n for dtype, made in found.items()}, "cpu")
    if true is not None:
        off = ", ".join(f"{way} {_apart(true, made):.1e}" for way, made in rounding.items())
        print(f"\nFrom the deltas of the plain way in float64 differ: {off}.", flush=True)
    if most:
        print("\n| edits | values s | layers s | ms an edit |\n|---|---|---|---|")
        run = partial(fast, anatomy, shape)
        for size in (size for size in GROWTH if size <= most):
            made = found[dtypes[-1]] if size == n else run(edits[:size], lower)
            v, layers = made.seconds["values"], made.seconds["layers"]
            print(f"| {size}, {dtypes[-1]} | {v:.2f} | {layers:.2f} | {1000 * (v + layers) / size:.0f} |", flush=True)


def _apart(one: Made, other: Made) -> float:
    """‖Δ₁ - Δ₂‖ / ‖Δ₁‖ of the layer where it is largest."""
    return max(float((delta - other.deltas[i]).norm() / delta.norm()) for i, delta in one.deltas.items())


def _phases(shape: Shape, n: int, dtype: str, device: str, folder: Path) -> None:
    print(_about(shape, n))
    anatomy = model(shape, DTYPES[dtype], device)
    lower = factor(moment(4 * shape.width, device), 1e-6)
    edits = rows(n, shape.vocabulary)
    made = in_phases(anatomy, shape, edits, lower, folder)
    v, layers = made.seconds["values"], made.seconds["layers"]
    print(
        f"\n{n} edits in {dtype} on {device}: values {v:.1f} s, layers {layers:.1f} s, {peak(anatomy) / 2**30:.1f} GiB"
    )
    print(f"slope {1000 * (v + layers) / n:.0f} ms an edit: ten thousand in {10_000 * (v + layers) / n / 60:.0f} min")
    _print_floor(shape, {dtype: v / n}, device)


def _print_floor(shape: Shape, seconds: dict[str, float], device: str) -> None:
    flops = floor_flops(shape)
    print(f"\nFloor: {flops / 1e9:.0f} GFLOP for the values of an edit.")
    for dtype, spent in seconds.items():
        rate = peak_flops(1024, shape.width, 4 * shape.width, DTYPES[dtype], device)
        print(
            f"{dtype}: {flops / rate:.3f} s at the {rate / 1e9:.0f} GFLOP/s of a matrix product of this size; "
            f"they take {spent:.3f} s, {spent * rate / flops:.1f} times that."
        )


if __name__ == "__main__":
    main()
