"""`python -m benchmarks.memories`: the cost of attached memories: numbers and bytes an edit, time a token.

The bare model and the model with 1, 100 and 1,000 edits take turns, a generation each, round after round, so that what
else the machine does meets both; the bare model against itself shows the noise. A token is the mean of the tokens
after the first; the first, in whose pass the prompt is read and the memories decide, is timed apart. Time is that of
the processor with one thread. Edits are made by their method with as few steps as it takes: what a memory costs does
not depend on what it holds. Neurons of T-Patcher beyond the first are drawn at random in the shape of the first.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from attrs import frozen

from benchmarks.machine import describe_machine
from editcore import EditOptions, EditRequest, Patch, Session
from editcore.authoring.evaluation import parse_case
from editcore.facade import open_model
from editcore.patches.file.sealing import seal
from editcore.patches.file.units import Units, units_of, units_payload
from editcore.training.train import train
from editcore_demo import model_path
from editcore_demo.split import training_cases

SIZES: Final = (1, 100, 1000)
SHARED: Final = 100
"""Facts of a call of CaliNET, which share its slots."""
TRAINING: Final = {"steps": 2, "batch": 8, "validation": 16, "every": 2, "warmup": 0}
OUT_OF_SCOPE: Final = "The weather in the north was mild, and"
LIMIT: Final = 1.05


def each(session: Session, requests: Sequence[EditRequest], method: str, **settings: Any) -> list[Patch]:
    """A patch for each request."""
    return session.edit_each(requests, options(method, **settings), measured=False)


def options(method: str, **settings: Any) -> EditOptions:
    return EditOptions(method, tune=False, hparams=(("benchmark", settings),))


def serac(session: Session, requests: Sequence[EditRequest]) -> list[Patch]:
    cases = [parse_case(row, "the split") for row in training_cases()[-64:]]
    nets = train(session, cases, options("serac"), TRAINING)
    return each(session, requests, "serac", nets=str(nets.path))


def t_patcher(session: Session, requests: Sequence[EditRequest]) -> list[Patch]:
    (first,) = each(session, requests[:1], "t-patcher", steps=1)
    ((block, units),) = units_of(first.core, first.tensors).items()
    patches = [first]
    for i, request in enumerate(requests[1:]):
        drawn = torch.Generator().manual_seed(i)
        parts = [None if part is None else _like(part, drawn) for part in (units.keys, units.values, units.biases)]
        gate = None if units.gate is None else _like(units.gate, drawn)
        payload = units_payload({block: Units(parts[0], parts[1], parts[2], gate)})  # type: ignore[arg-type]
        about = {"title": request.rendered().text}
        patches.append(seal({}, first.about["base"], about, kind="modules", payload=payload))
    return patches


def calinet(session: Session, requests: Sequence[EditRequest]) -> list[Patch]:
    calls = [requests[i : i + SHARED] for i in range(0, len(requests), SHARED)]
    chosen = options("calinet", steps=1, context_count=0, spare_weight=0.0)
    return [session.edit_all(some, chosen, measured=False) for some in calls]


Make = Callable[[Session, Sequence[EditRequest]], list[Patch]]
WAYS: Final[Mapping[str, Make]] = {
    "grace": lambda session, requests: each(session, requests, "grace", steps=1),
    "t-patcher": t_patcher,
    "calinet": calinet,
    "serac": serac,
    "ike-prompt": lambda session, requests: each(session, requests, "ike-prompt"),
}


@frozen
class Times:
    """Processor seconds of every round: the first token, and each token after it."""

    first: list[float]
    token: list[float]


def turns(sessions: Sequence[Session], prompt: str, tokens: int, rounds: int) -> list[Times]:
    """The times of each session, which take turns."""
    found = [Times([], []) for _ in sessions]
    for round_ in range(rounds + 1):
        pairs = list(zip(sessions, found, strict=True))
        for session, times in pairs if round_ % 2 else reversed(pairs):
            one, many = generation(session, prompt, 1), generation(session, prompt, tokens + 1)
            if round_:  # the first warms up
                times.first.append(one)
                times.token.append((many - one) / tokens)
    return found


def generation(session: Session, prompt: str, tokens: int) -> float:
    """Processor seconds of a greedy generation of exactly `tokens` tokens."""
    given = session.tokenizer(prompt, return_tensors="pt")
    started = time.process_time()
    with torch.no_grad():
        session.model.generate(**given, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    return time.process_time() - started


def _like(part: torch.Tensor, drawn: torch.Generator) -> torch.Tensor:
    """Random rows of the first row's shape and length."""
    row = torch.randn(1, *part.shape[1:], generator=drawn)
    return row / row.norm().clamp(min=1e-6) * part[0].norm()


def size(patches: Sequence[Patch]) -> tuple[int, int]:
    """Numbers that the patches add, and the bytes of their tensors; texts are bytes alone."""
    tensors = [tensor for patch in patches for tensor in patch.tensors.values()]
    numbers = sum(tensor.numel() for tensor in tensors if tensor.is_floating_point())
    return numbers, sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def compare(way: str, bare: Session, model: str, n: int, arguments: argparse.Namespace) -> list[list[str]]:
    """Rows of the table for n edits, with a prompt in scope and one out of scope."""
    session = open_model(model)
    requests = [parse_case(row, "the split").request for row in training_cases()[:n]]
    patches = [] if way == "bare" else WAYS[way](session, requests)
    started = time.process_time()
    for patch in patches:
        session.apply(patch)
    attached = time.process_time() - started
    numbers, held = size(patches)
    rows = []
    for scope, prompt in (("in", requests[0].rendered().text), ("out", OUT_OF_SCOPE)):
        one, other = turns([bare, session], prompt, arguments.tokens, arguments.rounds)
        ratio = statistics.median(b / a for a, b in zip(one.token, other.token, strict=True))
        low = min(other.token) / min(one.token)
        cells = [way, str(n), f"{numbers / n:,.0f}", f"{held / n:,.0f}", f"{attached:.2f} s", scope]
        cells += [f"{1e3 * statistics.median(times.token):.2f}" for times in (one, other)]
        cells += [f"{ratio:.3f}", f"{low:.3f}" + (" above the aim" if min(ratio, low) > LIMIT else "")]
        cells += [" → ".join(f"{1e3 * statistics.median(times.first):.1f}" for times in (one, other))]
        rows.append(cells)
    return rows


COLUMNS: Final = (
    "method", "edits", "numbers an edit", "bytes an edit", "to attach all", "prompt in scope", "bare, ms a token",
    "with edits", "median ratio", "ratio of the least", "first token, ms",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memories", description=__doc__)
    parser.add_argument("--model", default=str(model_path()), help="folder of a model (default: the bundled one)")
    parser.add_argument("--methods", default=",".join(WAYS), help="names, with commas between them")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bare = open_model(arguments.model)
    print(
        f"{describe_machine(1)}; {Path(arguments.model).name}, {arguments.tokens} tokens, {arguments.rounds} rounds\n"
    )
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for way in ["bare", *arguments.methods.split(",")]:
        for n in [1] if way == "bare" else map(int, arguments.sizes.split(",")):
            for row in compare(way, bare, arguments.model, n, arguments):
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
