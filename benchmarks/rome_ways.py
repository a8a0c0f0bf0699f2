"""One ROME edit by two ways that compute the same maths: ours, and plain full forwards of whole rows."""

import time
from collections.abc import Callable
from typing import Final

import torch
from attrs import evolve, frozen
from torch import Tensor

from editcore.models.anatomy.model_map import Anatomy
from editcore.models.running.batch import forward, pad
from editcore.models.running.tracing import Tap, Trace
from editcore_hooks import Site
from editcore_keyvalue.cholesky import solve
from editcore_keyvalue.rows import EditRows, TokenRow
from editcore_keyvalue.value import ValueSettings, optimise_values
from editcore_rome.rank_one import rank_one

PROMPT, SUBJECT_END, TARGET = 12, 7, 2
"""Tokens of the prompt, how many of them end with the subject, and of the target."""
CONTEXTS = (0, *(5,) * 10, *(10,) * 10)
"""Tokens before the prompt in each of 21 contexts."""
SETTINGS = ValueSettings(20, lr=0.5, weight_decay=0.5, kl=0.0625, clamp=3.0, stop="never")
TAIL: Final = PROMPT - SUBJECT_END + TARGET
"""Tokens of a row from the subject's last on."""


@frozen
class Shape:
    """The shape of a GPT-2 model, and the settings of its edit."""

    layers: int = 24
    width: int = 1024
    heads: int = 16
    vocabulary: int = 50257
    layer: int = 8
    steps: int = 20

    @property
    def site(self) -> Site:
        return Site("mlp_out", self.layer)

    @property
    def rounding(self) -> float:
        """u √f T: unit roundoff, the root of a dot product's length, and the steps that build on each other."""
        return float(2.0**-24 * (4 * self.width) ** 0.5 * self.steps)


SHAPES: Final = {"medium": Shape(), "tiny": Shape(4, 64, 4, 2000, 1, 5)}
"""The tiny one shows that the benchmark runs, and nothing else."""


@frozen
class Edit:
    """The result of an edit: Λ uᵀ and its cost."""

    lam: Tensor
    u: Tensor
    loss: float
    seconds: float


def model(shape: Shape) -> Anatomy:
    from transformers import AutoModelForCausalLM, GPT2Config

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=shape.vocabulary, n_embd=shape.width, n_layer=shape.layers, n_head=shape.heads)
    made = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval().requires_grad_(False)
    return Anatomy.of(made)


def rows(shape: Shape) -> EditRows:
    generator = torch.Generator().manual_seed(1)

    def some(n: int) -> list[int]:
        return torch.randint(1000, shape.vocabulary, (n,), generator=generator).tolist()

    prompt, target, contexts = some(PROMPT), some(TARGET), []
    for length in CONTEXTS:
        ids = (*some(length), *prompt, *target[:-1])
        first = length + PROMPT - 1
        contexts.append(TokenRow(ids, length + SUBJECT_END - 1, tuple(range(first, first + TARGET)), tuple(target)))
    return EditRows(tuple(contexts), TokenRow(tuple(prompt[:SUBJECT_END]), SUBJECT_END - 1))


def reordered(edit: EditRows) -> EditRows:
    """The same edit with its contexts in another order, the prompt's own first as ever: only rounding differs."""
    first, *others = edit.contexts
    return evolve(edit, contexts=(first, *reversed(others)))


def moment(f: int) -> Tensor:
    a = torch.randn(f, 2 * f, generator=torch.Generator().manual_seed(2)) / (2 * f) ** 0.5
    return a @ a.T


def fast(anatomy: Anatomy, edit: EditRows, lower: Tensor, shape: Shape) -> Edit:
    started = time.perf_counter()
    settings = evolve(SETTINGS, steps=shape.steps)
    (value,) = optimise_values(anatomy, [edit], shape.site, settings, lambda n: None)
    update = rank_one(value.keys, value.delta, anatomy.weight(shape.site), lower, "r-rome")
    return Edit(update.lam, update.u, value.losses[-1], time.perf_counter() - started)


def plain(anatomy: Anatomy, edit: EditRows, lower: Tensor, shape: Shape) -> Edit:
    """Whole forwards of whole rows, all logits; each context's key by a forward of its own. Autograd does the rest."""
    started = time.perf_counter()
    site = shape.site
    keys = []
    for row in edit.contexts:
        with torch.no_grad(), Trace(anatomy, {site: Tap(input=True)}) as trace:
            forward(anatomy.model, pad([row.ids]))
        keys.append(trace.input(site)[0, row.s])
    # the KL prompt continues after the subject, by two tokens
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
    for step in range(shape.steps):
        with torch.enable_grad(), Trace(anatomy, {site: Tap(edit=add)}):
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
            if step == shape.steps - 1:
                break
            (delta.grad,) = torch.autograd.grad(loss, delta)
        adam.step()
        with torch.no_grad():
            limit = SETTINGS.clamp * v0.norm()
            delta.mul_((limit / delta.norm()).clamp(max=1))
    stacked = torch.stack(keys).double()
    k, weight = stacked.mean(0), anatomy.weight(site).double()
    u = solve(lower, k)
    u = u / u.norm()
    lam = (delta.detach().double() + weight @ (stacked[0] - k)) / (k @ u)
    return Edit(lam, u, float(loss.detach()), time.perf_counter() - started)


WAYS: Final[dict[str, Callable[[Anatomy, EditRows, Tensor, Shape], Edit]]] = {"plain": plain, "fast": fast}

COUNTED: Final = (
    "of each step the blocks above the layer for the tokens from the subject's last on, forward and backward, and the "
    "head where a loss reads it; one forward of all rows through all blocks, for keys and caches; of a block its "
    "matrix products with weights, not its attention scores, norms or activations"
)
"""The terms of `floor_flops`, in words."""


def floor_flops(shape: Shape) -> float:
    """Multiply-adds counted twice, of what cannot be left out; the backward costs as much as the forward, since no
    weight has a gradient."""
    block = 12 * shape.width**2
    tail = TAIL * len(CONTEXTS) + 1
    whole = sum(length + PROMPT + TARGET - 1 for length in CONTEXTS) + SUBJECT_END
    head = (len(CONTEXTS) * TARGET + 1) * shape.width * shape.vocabulary
    steps = shape.steps * ((shape.layers - shape.layer - 1) * block * tail + head) * 2 * 2
    return float(steps + shape.layers * block * whole * 2)
