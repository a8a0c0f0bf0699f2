"""`python -m benchmarks.memit`: seconds of a batch of MEMIT edits, against plain full forwards, in one run.

A random model of GPT-2 medium's shape; rows are random ids, three layers, early stop off. The plain way is written from
the maths: whole forwards of whole rows for every step of every edit, keys and outputs of every layer by forwards to the
head, weights written layer by layer, LU. It is measured on a few edits and scaled: its values and keys take the same
time for every edit. What it gives for those few edits is compared with what the fast way gives for them.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from attrs import evolve, field, frozen
from torch import Tensor

from benchmarks.machine import describe_machine
from editcore.models.anatomy import Anatomy
from editcore.models.batch import forward, pad
from editcore.models.tracing import Tap, Trace
from editcore_hooks import Site
from editcore_keyvalue.rows import EditRows, Row
from editcore_keyvalue.solve import factor
from editcore_keyvalue.spreading import spread
from editcore_keyvalue.system import Preserved
from editcore_keyvalue.value import ValueSettings, in_batches, optimise_values

PROMPT, SUBJECT_END, TARGET = 12, 7, 2
"""Tokens of the prompt, how many of them end with the subject, and of the target."""
CONTEXTS = (0, *(10,) * 5)
"""Tokens before the prompt in each of 6 contexts."""
SETTINGS = ValueSettings(20, lr=0.5, weight_decay=0.5, kl=0.0625, clamp=0.75, stop="never")
WEIGHT = 15_000.0
GROWTH = (1, 10, 100, 1000)


@frozen
class Shape:
    n_layers: int
    width: int
    heads: int
    vocabulary: int
    edited: tuple[int, ...]


SHAPES = {"medium": Shape(24, 1024, 16, 50257, (6, 7, 8)), "tiny": Shape(6, 64, 4, 1500, (1, 2, 3))}


@frozen(eq=False)
class Made:
    """Δ (d, f) by layer of the first edits, and the seconds of each phase."""

    deltas: Mapping[int, Tensor]
    seconds: Mapping[str, float] = field(factory=dict)

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


def model(shape: Shape) -> Anatomy:
    from transformers import AutoModelForCausalLM, GPT2Config

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=shape.vocabulary, n_embd=shape.width, n_layer=shape.n_layers, n_head=shape.heads)
    made = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval().requires_grad_(False)
    return Anatomy.of(made)


def rows(n: int, vocabulary: int) -> list[EditRows]:
    """Edits of random ids; the contexts are the same for all, as they are in earnest."""
    generator = torch.Generator().manual_seed(1)

    def some(length: int) -> list[int]:
        return torch.randint(100, vocabulary, (length,), generator=generator).tolist()

    before, edits = [some(length) for length in CONTEXTS], []
    for _ in range(n):
        prompt, target, contexts = some(PROMPT), some(TARGET), []
        for context in before:
            ids = (*context, *prompt, *target[:-1])
            first = len(context) + PROMPT - 1
            s = len(context) + SUBJECT_END - 1
            contexts.append(Row(ids, s, tuple(range(first, first + TARGET)), tuple(target)))
        edits.append(EditRows(tuple(contexts), Row(tuple(prompt[:SUBJECT_END]), SUBJECT_END - 1)))
    return edits


def moment(f: int) -> Tensor:
    a = torch.randn(f, 2 * f, generator=torch.Generator().manual_seed(2)) / (2 * f) ** 0.5
    return a @ a.T


def fast(anatomy: Anatomy, shape: Shape, edits: Sequence[EditRows], lower: Tensor) -> Made:
    started = time.perf_counter()
    site = Site("block", shape.edited[-1])
    values = [
        value
        for batch in in_batches(edits)
        for value in optimise_values(anatomy, batch, site, SETTINGS, lambda n: None)
    ]
    valued = time.perf_counter()
    target = torch.stack([value.v0.double() + value.delta.double() for value in values], 1)  # (d, n)
    written = spread(anatomy, edits, len(CONTEXTS), shape.edited, target, site, lambda _: Preserved(WEIGHT, lower))
    ended = time.perf_counter()
    deltas = {each.layer: (update.out @ update.in_) for each, update in written.updates.items() if len(edits) < 50}
    return Made(deltas, {"values": valued - started, "layers": ended - valued})  # type: ignore[arg-type]


def plain_value(anatomy: Anatomy, site: Site, edit: EditRows) -> Tensor:
    """z (d,): whole forwards of whole rows, all logits, autograd, Adam of torch."""
    kl = (*edit.kl.ids, *edit.contexts[0].ids[edit.kl.s + 1 : edit.kl.s + 3])  # it goes on behind the subject
    batch = pad([*(row.ids for row in edit.contexts), kl])
    s, every = torch.tensor([row.s for row in edit.all]), torch.arange(len(edit.all))
    delta = torch.zeros(anatomy.hidden_size, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=SETTINGS.lr)
    v0: list[Tensor] = []
    initial: list[Tensor] = []

    def add(output: Tensor) -> Tensor:
        if not v0:
            v0.append(output[0, s[0]].detach().clone())
        shift = torch.zeros_like(output)
        shift[every, s] = delta
        return output + shift

    for step in range(SETTINGS.steps):
        with torch.enable_grad(), Trace(anatomy, {site: Tap(edit=add)}):
            logprobs = forward(anatomy.model, batch).log_softmax(-1)  # (R+1, T, V)
            now = logprobs[-1, s[-1]]
            if not initial:
                initial.append(now.detach().clone())
            nll = torch.zeros(())
            for r, row in enumerate(edit.contexts):
                picked = torch.stack([logprobs[r, i, y] for i, y in zip(row.scored, row.labels, strict=True)])
                nll = nll - picked.mean() / len(edit.contexts)
            size = delta.norm() if step else (delta * 0).sum()
            kl_loss = (now.exp() * (now - initial[0])).sum()
            loss = nll + SETTINGS.kl * kl_loss + SETTINGS.weight_decay * size / v0[0].norm() ** 2
            if step == SETTINGS.steps - 1:
                break
            (delta.grad,) = torch.autograd.grad(loss, delta)
        adam.step()
        with torch.no_grad():
            delta.mul_((SETTINGS.clamp * v0[0].norm() / delta.norm()).clamp(max=1))
    return v0[0] + delta.detach()


@torch.no_grad()
def plain(anatomy: Anatomy, shape: Shape, edits: Sequence[EditRows], c: Tensor, n: int) -> Made:
    """The seconds are those of `n` edits: values and keys scaled from these, the solution of n keys measured."""
    scale, last = n / len(edits), Site("block", shape.edited[-1])
    started = time.perf_counter()
    with torch.enable_grad():
        z = torch.stack([plain_value(anatomy, last, edit) for edit in edits], 1).double()  # (d, E)
    seconds = {"values": scale * (time.perf_counter() - started), "keys": 0.0, "solution": 0.0}
    deltas = {}
    for i, layer in enumerate(shape.edited):
        site, started = Site("mlp_out", layer), time.perf_counter()
        keys, outputs = [], []
        for edit in edits:
            s, every = torch.tensor([row.s for row in edit.contexts]), torch.arange(len(edit.contexts))
            with Trace(anatomy, {site: Tap(input=True)}) as trace:
                forward(anatomy.model, pad([row.ids for row in edit.contexts]))
            clean, *others = trace.input(site)[every, s]
            keys.append((clean + torch.stack(others).mean(0)) / 2)
            with Trace(anatomy, {last: Tap(output=True)}) as trace:
                forward(anatomy.model, pad([edit.contexts[0].ids]))
            outputs.append(trace.output(last)[0, edit.contexts[0].s])
        seconds["keys"] += scale * (time.perf_counter() - started)
        k = torch.stack(keys, 1).double()  # (f, E)
        r = (z - torch.stack(outputs, 1).double()) / (len(shape.edited) - i)  # (d, E)
        many = torch.cat([k, torch.randn(len(k), n, dtype=torch.float64)], 1)[:, :n] if n > len(edits) else k
        started = time.perf_counter()
        torch.linalg.solve(WEIGHT * c + many @ many.T, many)
        seconds["solution"] += time.perf_counter() - started
        deltas[layer] = (r @ torch.linalg.solve(WEIGHT * c + k @ k.T, k).T).float()
        anatomy.weight(site).add_(deltas[layer])
    for layer, delta in deltas.items():
        anatomy.weight(Site("mlp_out", layer)).sub_(delta)  # a random model: nobody minds the last bit
    return Made(deltas, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memit", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="medium")
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--plain", type=int, default=4, help="edits on which the plain way is measured")
    parser.add_argument("--most", type=int, default=1000, help="edits up to which growth is measured; 0: not at all")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape = SHAPES[arguments.shape]
    anatomy, n = model(shape), arguments.edits
    edits = rows(max(n, arguments.most), shape.vocabulary)
    mean = moment(anatomy.mlp_width)
    started = time.perf_counter()
    lower = factor(mean, 1e-6)
    factored = len(shape.edited) * (time.perf_counter() - started)
    c = lower @ lower.T
    run = partial(fast, anatomy, shape)
    run(edits[:2], lower)  # to warm up: allocator and kernels
    few = edits[: arguments.plain]
    slow, same, found = plain(anatomy, shape, few, c, n), run(few, lower), run(edits[:n], lower)
    print(describe_machine(arguments.threads))
    print(
        f"random GPT-2, {shape.n_layers} layers of {shape.width}, {shape.vocabulary} tokens; edited {shape.edited}, "
        f"prompt {PROMPT} tokens, {len(CONTEXTS)} contexts, {SETTINGS.steps} steps, no early stop; {n} edits\n"
    )
    print("| way | values s | keys and outputs s | solution s | all s |\n|---|---|---|---|---|")
    parts = slow.seconds
    print(
        f"| plain, from {len(few)} edits | {parts['values']:.1f} | {parts['keys']:.1f} | {parts['solution']:.1f} | "
        f"{slow.total:.1f} |"
    )
    found = evolve(found, seconds={**found.seconds, "factors": factored})
    print(
        f"| fast | {found.seconds['values']:.1f} | {found.seconds['layers']:.1f}, solution included | "
        f"{factored:.1f}, Cholesky, once a model | {found.total:.1f} |"
    )
    apart = max(float((slow.deltas[i] - same.deltas[i]).norm() / slow.deltas[i].norm()) for i in shape.edited)
    print(f"\n{slow.total / found.total:.1f} times faster; on {len(few)} edits the deltas differ by {apart:.1e}.\n")
    if arguments.most:
        print("| edits | values s | layers s | ms an edit |\n|---|---|---|---|")
        for size in (size for size in GROWTH if size <= arguments.most):
            made = found if size == n else run(edits[:size], lower)
            v, layers = made.seconds["values"], made.seconds["layers"]
            print(f"| {size} | {v:.2f} | {layers:.2f} | {1000 * (v + layers) / size:.0f} |", flush=True)


if __name__ == "__main__":
    main()
