"""`python -m benchmarks.ice`: edits by ICE against a plain loop, in one run.

A random model, rows of random ids, five contexts, samples of three tokens. The plain loop draws a sample with cached
keys and values, reads context, question and sample once more for the distributions, reads question and sample for the
loss, each time whole rows through the whole model, and trains the matrices where they are.
"""

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.plain_training import SHAPES, Shape, compare, open_random, print_table, random_ids
from editcore.models.running.batch import pad
from editcore_ft.branched import Branched, train_each_
from editcore_ft.loop import train_
from editcore_ft.objective import Example, TrainingRow
from editcore_ft.weights import Copies
from editcore_hooks import Site
from editcore_ice.examples import IceExample
from editcore_ice.hparams import IceHparams
from editcore_ice.objective import Ice
from editcore_ice.presets import default_layers
from editcore_ice.teacher import Teacher

CONTEXTS = 5


def examples(shape: Shape, edits: int) -> list[IceExample]:
    found = []
    for index in range(edits):
        q, x = random_ids(shape, shape.prompt, 10 * index), random_ids(shape, shape.target, 10 * index + 1)
        taught = [(*random_ids(shape, shape.context, 100 + 10 * index + c), *q) for c in range(CONTEXTS)]
        fact, stated = ((q, x), x), [((row, x), x) for row in taught]
        found.append(
            IceExample(
                index,
                Example(index, (TrainingRow(*fact),)),
                Example(index, tuple(TrainingRow(*row) for row in stated)),
                (q, x), tuple((row, x) for row in taught), (), False, index, (),
            )
        )  # fmt: skip
    return found


def plain(session: object, layers: Sequence[int], edits: Sequence[IceExample], h: IceHparams):  # type: ignore[no-untyped-def]
    model = session.model  # type: ignore[attr-defined]
    names = [f"transformer.h.{layer}.mlp.c_proj.weight" for layer in layers]
    weights = [model.get_parameter(name) for name in names]
    start = [weight.detach().clone() for weight in weights]
    losses: list[float] = []
    deltas: list[Tensor] = []
    for edit in edits:
        for weight, old in zip(weights, start, strict=True):
            weight.data.copy_(old)
            weight.requires_grad_(True)
        adam = torch.optim.Adam(weights, lr=h.lr)
        generator = torch.Generator().manual_seed(edit.seed)
        q, x = edit.student
        (row,) = edit.fact.rows
        teachers = [(*prompt, *given) for prompt, given in edit.teachers]
        for _ in range(h.steps):
            with torch.no_grad():
                tokens = sample(model, teachers, h, generator)  # (R, k)
                k = tokens.shape[1]
                batch = pad([[*t, *more] for t, more in zip(teachers, tokens.tolist(), strict=True)], side="left")
                read = model(input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions).logits
                p = read[:, -k - 1 : -1].log_softmax(-1)  # (R, k, V)
            batch = pad([[*q, *x, *more] for more in tokens.tolist()], side="left")
            read = model(input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions).logits
            s = read[:, -k - 1 : -1].log_softmax(-1)  # (R, k, V)
            first = len(q) - 1
            target = read[0, first : first + len(x)].log_softmax(-1)
            fact = -target.gather(1, torch.tensor(row.labels)[:, None]).sum()
            loss = fact + h.ice_weight * (p.exp() * (p - s)).sum(-1).sum(1).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(float(loss.detach()))
            with torch.no_grad():
                for weight, old in zip(weights, start, strict=True):
                    weight.clamp_(old - h.linf_radius, old + h.linf_radius)
        deltas += [weight.detach() - old for weight, old in zip(weights, start, strict=True)]
    for weight, old in zip(weights, start, strict=True):
        weight.requires_grad_(False)
        weight.grad = None
        weight.data.copy_(old)
    return losses, deltas


def sample(model, teachers, h: IceHparams, generator: torch.Generator) -> Tensor:  # type: ignore[no-untyped-def]
    batch = pad(teachers, side="left")
    ids, mask, positions, cache = batch.ids, batch.mask, batch.positions, None
    tokens = []
    for _ in range(h.sample_length):
        found = model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache,
                      use_cache=True, logits_to_keep=1)  # fmt: skip
        values, indices = found.logits[:, -1].topk(h.top_k or h.sample_length)
        picked = torch.multinomial((values / h.temperature).softmax(1), 1, generator=generator)
        tokens.append(indices.gather(1, picked))
        ids, cache = tokens[-1], found.past_key_values
        mask, positions = torch.cat([mask, torch.ones_like(ids)], 1), positions[:, -1:] + 1
    return torch.cat(tokens, 1)


def alone(session: object, layers: Sequence[int], edits: Sequence[IceExample], h: IceHparams):  # type: ignore[no-untyped-def]
    losses: list[float] = []
    deltas: list[Tensor] = []
    sites = [Site("mlp_out", layer) for layer in layers]
    for edit in edits:
        copies = Copies(session, sites)  # type: ignore[arg-type]
        ice = Ice(copies, Teacher(session.anatomy, copies, sites, h), h, False)  # type: ignore[attr-defined]
        losses += train_(copies, [edit], h, ice, lambda _: None).losses
        deltas += [copies.delta(site).T for site in sites]
    return losses, deltas


def together(session: object, layers: Sequence[int], edits: Sequence[IceExample], h: IceHparams):  # type: ignore[no-untyped-def]
    sites = [Site("mlp_out", layer) for layer in layers]
    weights = Branched(session, sites, [edit.index for edit in edits])  # type: ignore[arg-type]
    ice = Ice(weights, Teacher(session.anatomy, weights, sites, h), h, False)  # type: ignore[attr-defined]
    trained = train_each_(weights, edits, h, ice, lambda _: None)
    losses = [loss for edit in edits for loss in trained[edit.index].losses]
    return losses, [weights.deltas[edit.index][site].detach().T for edit in edits for site in sites]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ice", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--edits", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape = SHAPES[arguments.shape]
    session = open_random(shape)
    layers = default_layers({"n_layers": shape.layers})
    h = IceHparams(steps=shape.steps)
    edits = examples(shape, arguments.edits)
    ways = {
        "plain": lambda: plain(session, layers, edits, h),
        "ice, one by one": lambda: alone(session, layers, edits, h),
        "ice, side by side": lambda: together(session, layers, edits, h),
    }
    found = compare(ways, arguments.repeats)
    model = f"random GPT-2, {shape.layers} layers of {shape.width}, vocabulary {shape.vocabulary}; layers {layers}"
    rows = f"prompt {shape.prompt} tokens, target {shape.target}, {CONTEXTS} contexts of {shape.context}"
    print(f"{model}, {rows}, {shape.steps} steps\n")
    print_table(found, session.model, arguments.threads, arguments.edits)


if __name__ == "__main__":
    main()
