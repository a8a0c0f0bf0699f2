"""`python -m benchmarks.rome`: seconds and peak memory of one ROME edit, against plain full forwards, in one run.

A random model of GPT-2 medium's shape; rows are random ids. Both ways compute the same maths: keys, the value by Adam
with early stop off, u = C⁻¹k, and the rank-one update. Each runs in a process of its own, so that peaks can be told
apart; before it, a matrix product of the model's size says what the machine can do.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from attrs import evolve, frozen
from torch import Tensor

from benchmarks.machine import describe_machine, peak_flops
from editcore.models.anatomy import Anatomy
from editcore.models.batch import forward, pad
from editcore.models.tracing import Tap, Trace
from editcore_hooks import Site
from editcore_keyvalue.rows import EditRows, Row
from editcore_keyvalue.solve import factor, solve
from editcore_keyvalue.value import ValueSettings, optimise_values
from editcore_rome.method import rank_one

LAYERS, WIDTH, HEADS, VOCABULARY = 24, 1024, 16, 50257
LAYER = 8
STEPS = 20
PROMPT, SUBJECT_END, TARGET = 12, 7, 2
"""Tokens of the prompt, how many of them end with the subject, and of the target."""
CONTEXTS = (0, *(5,) * 10, *(10,) * 10)
"""Tokens before the prompt in each of 21 contexts."""
SETTINGS = ValueSettings(STEPS, lr=0.5, weight_decay=0.5, kl=0.0625, clamp=3.0, stop="never")
SITE = Site("mlp_out", LAYER)


@frozen
class Edit:
    """What an edit gave: Λ uᵀ and what it cost."""

    lam: Tensor
    u: Tensor
    loss: float
    seconds: float


def model() -> Anatomy:
    from transformers import AutoModelForCausalLM, GPT2Config

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS)
    made = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval().requires_grad_(False)
    return Anatomy.of(made)


def rows() -> EditRows:
    generator = torch.Generator().manual_seed(1)

    def some(n: int) -> list[int]:
        return torch.randint(1000, VOCABULARY, (n,), generator=generator).tolist()

    prompt, target, contexts = some(PROMPT), some(TARGET), []
    for length in CONTEXTS:
        ids = (*some(length), *prompt, *target[:-1])
        first = length + PROMPT - 1
        contexts.append(Row(ids, length + SUBJECT_END - 1, tuple(range(first, first + TARGET)), tuple(target)))
    return EditRows(tuple(contexts), Row(tuple(prompt[:SUBJECT_END]), SUBJECT_END - 1))


def moment(f: int) -> Tensor:
    a = torch.randn(f, 2 * f, generator=torch.Generator().manual_seed(2)) / (2 * f) ** 0.5
    return a @ a.T


def fast(anatomy: Anatomy, edit: EditRows, lower: Tensor, steps: int = STEPS) -> Edit:
    started = time.perf_counter()
    (value,) = optimise_values(anatomy, [edit], SITE, evolve(SETTINGS, steps=steps), lambda n: None)
    update = rank_one(value.keys, value.delta, anatomy.weight(SITE), lower, "r-rome")
    return Edit(update.lam, update.u, value.losses[-1], time.perf_counter() - started)


def plain(anatomy: Anatomy, edit: EditRows, lower: Tensor, steps: int = STEPS) -> Edit:
    """Whole forwards of whole rows, all logits; each context's key by a forward of its own. Autograd does the rest."""
    started = time.perf_counter()
    keys = []
    for row in edit.contexts:
        with torch.no_grad(), Trace(anatomy, {SITE: Tap(input=True)}) as trace:
            forward(anatomy.model, pad([row.ids]))
        keys.append(trace.input(SITE)[0, row.s])
    # the KL prompt goes on behind the subject, by two tokens
    kl = (*edit.kl.ids, *edit.contexts[0].ids[edit.kl.s + 1 : edit.kl.s + 3])
    batch = pad([*(row.ids for row in edit.contexts), kl])
    s = torch.tensor([row.s for row in edit.all])
    every = torch.arange(len(s))
    delta = torch.zeros(anatomy.hidden_size, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=SETTINGS.lr)
    v0: Tensor | None = None
    initial: Tensor | None = None

    def add(output: Tensor) -> Tensor:
        nonlocal v0
        if v0 is None:
            v0 = output[0, s[0]].detach().clone()
        shift = torch.zeros_like(output)
        shift[every, s] = delta
        return output + shift

    loss = torch.zeros(())
    for step in range(steps):
        with torch.enable_grad(), Trace(anatomy, {SITE: Tap(edit=add)}):
            logprobs = forward(anatomy.model, batch).log_softmax(-1)  # (R+1, T, V)
            now = logprobs[-1, s[-1]]
            initial = now.detach().clone() if initial is None else initial
            assert v0 is not None
            nll = torch.zeros(())
            for r, row in enumerate(edit.contexts):
                picked = torch.stack([logprobs[r, i, y] for i, y in zip(row.scored, row.labels, strict=True)])
                nll = nll - picked.mean() / len(edit.contexts)
            size = delta.norm() if step else (delta * 0).sum()
            kl_loss = (now.exp() * (now - initial)).sum()
            loss = nll + SETTINGS.kl * kl_loss + SETTINGS.weight_decay * size / v0.norm() ** 2
            if step == steps - 1:
                break
            (delta.grad,) = torch.autograd.grad(loss, delta)
        adam.step()
        with torch.no_grad():
            limit = SETTINGS.clamp * v0.norm()
            delta.mul_((limit / delta.norm()).clamp(max=1))
    stacked = torch.stack(keys).double()
    k, weight = stacked.mean(0), anatomy.weight(SITE).double()
    u = solve(lower, k)
    u = u / u.norm()
    lam = (delta.detach().double() + weight @ (stacked[0] - k)) / (k @ u)
    return Edit(lam, u, float(loss.detach()), time.perf_counter() - started)


WAYS: dict[str, Callable[..., Edit]] = {"plain": plain, "fast": fast}

REPEATS = {"plain": 1, "fast": 3}
"""The plain way takes a minute or two."""


def floor_flops() -> float:
    """Multiply-adds counted twice, of what cannot be left out: blocks above the layer for tokens from s on, forward
    and, without weight gradients, as much again backward; the head where a loss reads it; one whole forward first."""
    block = 12 * WIDTH**2
    tail = sum(PROMPT - SUBJECT_END + TARGET for _ in CONTEXTS) + 1
    whole = sum(length + PROMPT + TARGET - 1 for length in CONTEXTS) + SUBJECT_END
    head = (len(CONTEXTS) * TARGET + 1) * WIDTH * VOCABULARY
    steps = STEPS * ((LAYERS - LAYER - 1) * block * tail + head) * 2 * 2
    return steps + LAYERS * block * whole * 2


def one(way: str, threads: int, out: str) -> None:
    torch.set_num_threads(threads)
    anatomy, edit = model(), rows()
    lower = factor(moment(4 * WIDTH), 1e-6)
    peak = peak_flops()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    WAYS[way](anatomy, edit, lower, steps=2)  # to warm up: allocator and kernels
    runs = [WAYS[way](anatomy, edit, lower) for _ in range(REPEATS[way])]
    best = min(runs, key=lambda run: run.seconds)
    torch.save({"lam": best.lam, "u": best.u}, out)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"seconds": [r.seconds for r in runs], "mib": memory / 1024, "loss": best.loss, "peak": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rome", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--facts", type=int, default=200, help="of the demo, for what early stops cost; 0: none")
    parser.add_argument("--way", choices=sorted(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        one(arguments.way, arguments.threads, arguments.out)
        return
    import tempfile

    found, deltas = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            out = f"{folder}/{way}.pt"
            command = [sys.executable, "-m", "benchmarks.rome", "--way", way, "--out", out]
            done = subprocess.run([*command, "--threads", str(arguments.threads)], stdout=subprocess.PIPE, check=True)
            found[way] = json.loads(done.stdout)
            deltas[way] = torch.load(out, weights_only=True)
    _print(found, deltas, arguments.threads)
    if arguments.facts:
        _print_stops(arguments.facts, arguments.threads)


def _print_stops(n: int, threads: int) -> None:
    """What changes the result a little: stopping by loss, or once the target is the argmax everywhere."""
    from editcore.editing.compute import Options
    from editcore.editing.session import open_model
    from editcore.evaluation.cases import parse_case
    from editcore_demo import cases, model_path
    from editcore_demo.quality import quality

    torch.set_num_threads(threads)
    session = open_model(model_path())
    chosen = [parse_case(row, "the demo's cases") for row in cases(n)]
    session.edit_each([case.request for case in chosen[:1]], Options())  # collects the second moments
    print(f"\nWith another result: when to stop. {n} facts of the demo model, each edited alone with its preset.\n")
    print("| stop | seconds an edit | ES | PS | NS | all target tokens argmax |\n|---|---|---|---|---|---|")
    for stop in ("never", "loss", "argmax"):
        made = quality(session, chosen, Options(hparams=(("benchmark", {"v_stop": stop}),)))
        value = {report.metric: f"{report.value:.1%}" for report in made.reports}
        figures = " | ".join(value[name] for name in ("pref.es@1", "pref.ps@1", "pref.ns@1", "tf.exact@1"))
        print(f"| {stop} | {made.seconds_per_edit:.2f} | {figures} |", flush=True)


def _print(found: dict[str, dict[str, float]], deltas: dict[str, dict[str, Tensor]], threads: int) -> None:
    a, b = (torch.outer(deltas[way]["lam"], deltas[way]["u"]) for way in WAYS)
    apart = float((a - b).norm() / a.norm())
    seconds = {way: min(one["seconds"]) for way, one in found.items()}  # type: ignore[call-overload]
    floor = floor_flops() / found["fast"]["peak"]
    print(describe_machine(threads))
    print(
        f"random GPT-2, {LAYERS} layers of {WIDTH}, vocabulary {VOCABULARY}; layer {LAYER}, prompt {PROMPT} tokens, "
        f"{PROMPT - SUBJECT_END + TARGET} from s on, {len(CONTEXTS)} contexts, {STEPS} steps, early stop off\n"
    )
    print("| way | seconds, best of its runs | peak memory above the model | last loss |\n|---|---|---|---|")
    for way, one in found.items():
        print(f"| {way} | {seconds[way]:.2f} | {one['mib']:.0f} MiB | {one['loss']:.4f} |")
    print(f"\n{seconds['plain'] / seconds['fast']:.1f} times faster; the deltas differ by {apart:.1e} of their norm.")
    print(
        f"Floor: {floor_flops() / 1e9:.0f} GFLOP, {floor:.2f} s at the {found['fast']['peak'] / 1e9:.0f} GFLOP/s of a "
        f"matrix product of this size; the fast way takes {seconds['fast'] / floor:.1f} times that."
    )


if __name__ == "__main__":
    main()
