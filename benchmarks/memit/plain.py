"""MEMIT written from the maths alone: whole forwards of whole rows for every step of every edit, keys and outputs of
every layer by forwards to the head, weights written layer by layer, LU."""

import time
from collections.abc import Mapping, Sequence

import torch
from attrs import define, field, frozen
from torch import Tensor

from editcore.models.anatomy.model_map import Anatomy
from editcore.models.running.batch import forward, pad
from editcore.models.running.tracing import Tap, Trace
from editcore_hooks import Site
from editcore_keyvalue.fit import STOP_LOSS
from editcore_keyvalue.rows import EditRows
from editcore_keyvalue.value import ValueSettings


@define(eq=False)
class Made:
    """Δ (d, f) by layer, the seconds of each phase, and how many forwards the values took."""

    deltas: Mapping[int, Tensor]
    seconds: dict[str, float] = field(factory=dict)
    steps: int = 0

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


@frozen(eq=False)
class Problem:
    """The problem that both ways solve. `moments` (f, f) by layer, float64, ridge included."""

    anatomy: Anatomy
    layers: Sequence[int]
    settings: ValueSettings
    weight: float
    moments: Mapping[int, Tensor]
    context_spread: bool = False

    @property
    def last(self) -> Site:
        return Site("block", self.layers[-1])


def plain_value(anatomy: Anatomy, site: Site, edit: EditRows, settings: ValueSettings) -> tuple[Tensor, int]:
    """z (d,), and the forwards: whole forwards of whole rows, all logits, autograd, Adam of torch."""
    kl = (*edit.kl.ids, *edit.contexts[0].ids[edit.kl.s + 1 : edit.kl.s + 3])  # it continues after the subject
    batch = pad([*(row.ids for row in edit.contexts), kl])
    s, every = torch.tensor([row.s for row in edit.all]), torch.arange(len(edit.all))
    delta = torch.zeros(anatomy.hidden_size, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=settings.lr)
    v0: list[Tensor] = []
    initial: list[Tensor] = []

    def add(output: Tensor) -> Tensor:
        if not v0:
            v0.append(output[0, s[0]].detach().clone())
        shift = torch.zeros_like(output)
        shift[every, s] = delta
        return output + shift

    step = 0
    for step in range(settings.steps):
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
            loss = nll + settings.kl * kl_loss + settings.weight_decay * size / v0[0].norm() ** 2
            if step == settings.steps - 1 or (settings.stop == "loss" and loss < STOP_LOSS):
                break
            (delta.grad,) = torch.autograd.grad(loss, delta)
        adam.step()
        with torch.no_grad():
            delta.mul_((settings.clamp * v0[0].norm() / delta.norm()).clamp(max=1))
    return v0[0] + delta.detach(), step + 1


def in_float64(problem: Problem, edits: Sequence[EditRows]) -> Made:
    """`plain`, all of it in float64; the model is left in float32."""
    model, before = problem.anatomy.model, torch.get_default_dtype()
    model.double()
    torch.set_default_dtype(torch.float64)
    try:
        return plain(problem, edits)
    finally:
        torch.set_default_dtype(before)
        model.float()


@torch.no_grad()
def plain(problem: Problem, edits: Sequence[EditRows], n: int = 0, keyed: Sequence[EditRows] | None = None) -> Made:
    """With `n` the seconds are those of so many edits: values and keys scaled from these, the solution measured.

    `keyed` are the rows that make the keys, where they are not those of the values.
    """
    anatomy, layers, n = problem.anatomy, problem.layers, n or len(edits)
    made, scale = Made({}), n / len(edits)
    started = time.perf_counter()
    with torch.enable_grad():
        found = [plain_value(anatomy, problem.last, edit, problem.settings) for edit in edits]
    z = torch.stack([value for value, _ in found], 1).double()  # (d, E)
    made.seconds = {"values": scale * (time.perf_counter() - started), "keys": 0.0, "solution": 0.0}
    made.steps = sum(steps for _, steps in found)
    deltas: dict[int, Tensor] = {}
    for i, layer in enumerate(layers):
        site, started = Site("mlp_out", layer), time.perf_counter()
        keys, apart, outputs = [], [], []
        for edit in keyed or edits:
            k, differing = _key(anatomy, site, edit)
            keys.append(k)
            apart.append(differing)
            with Trace(anatomy, {problem.last: Tap(output=True)}) as trace:
                forward(anatomy.model, pad([edit.contexts[0].ids]))
            outputs.append(trace.output(problem.last)[0, edit.contexts[0].s])
        made.seconds["keys"] += scale * (time.perf_counter() - started)
        k = torch.stack(keys, 1).double()  # (f, E)
        r = (z - torch.stack(outputs, 1).double()) / (len(layers) - i)  # (d, E)
        many = torch.cat([k, torch.randn(len(k), n, dtype=torch.float64)], 1)[:, :n] if n > len(edits) else k
        m = problem.weight * problem.moments[layer]
        if problem.context_spread:
            differing = torch.cat(apart, 1).double()  # (f, E · R)
            m = m + differing @ differing.T
        started = time.perf_counter()
        solved = torch.linalg.solve(m + many @ many.T, many)
        made.seconds["solution"] += time.perf_counter() - started
        a = solved if many is k else torch.linalg.solve(m + k @ k.T, k)
        deltas[layer] = (r @ a.T).float()
        anatomy.weight(site).add_(deltas[layer])
    for layer, delta in deltas.items():
        site = Site("mlp_out", layer)
        anatomy.weight(site).sub_(delta)  # a model of the benchmark: nobody minds a last bit
    made.deltas = deltas
    return made


def _key(anatomy: Anatomy, site: Site, edit: EditRows) -> tuple[Tensor, Tensor]:
    """The key (f,), and how those of contexts differ from it, (f, R), weighted."""
    with Trace(anatomy, {site: Tap(input=True)}) as trace:
        forward(anatomy.model, pad([row.ids for row in edit.contexts]))
    at = torch.tensor([row.s for row in edit.contexts])
    clean, *others = trace.input(site)[torch.arange(len(at)), at]
    if not others:
        return clean, torch.zeros_like(clean)[:, None]
    k = (clean + torch.stack(others).mean(0)) / 2
    weights = [0.5, *[0.5 / len(others)] * len(others)]
    return k, torch.stack([w**0.5 * (each - k) for w, each in zip(weights, (clean, *others), strict=True)], 1)
