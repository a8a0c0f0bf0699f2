"""`python -m benchmarks.ft`: fine-tuning edits, each alone, against a plain loop, in one run.

A random model, rows of random ids. The plain loop reads whole rows through the whole model, with logits at every
position, and trains the matrix where it is.
"""

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.plain_training import SHAPES, Shape, compare, open_random, print_table, random_ids
from editcore_ft.branched import Branched, train_each_
from editcore_ft.hparams import FtMHparams
from editcore_ft.loop import Losses, train_
from editcore_ft.objective import Example, TrainingRow, nll
from editcore_ft.weights import Copies, Trainable
from editcore_hooks import Site


def examples(shape: Shape, edits: int) -> list[Example]:
    rows = [
        (random_ids(shape, shape.prompt, 10 * i), random_ids(shape, shape.target, 10 * i + 1)) for i in range(edits)
    ]
    return [Example(i, (TrainingRow((q, x), x),)) for i, (q, x) in enumerate(rows)]


def plain(session: object, layer: int, edits: Sequence[Example], h: FtMHparams):  # type: ignore[no-untyped-def]
    model = session.model  # type: ignore[attr-defined]
    weight = model.get_parameter(f"transformer.h.{layer}.mlp.c_proj.weight")
    start = weight.detach().clone()
    losses: list[float] = []
    deltas: list[Tensor] = []
    for edit in edits:
        weight.data.copy_(start)
        weight.requires_grad_(True)
        adam = torch.optim.Adam([weight], lr=h.lr)
        (row,) = edit.rows
        ids = torch.tensor([[*row.item[0], *row.item[1]]])
        labels = ids.clone()
        labels[0, : len(row.item[0])] = -100
        for _ in range(h.steps):
            loss = model(input_ids=ids, labels=labels).loss
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(float(loss.detach()))
        deltas.append(weight.detach() - start)
    weight.requires_grad_(False)
    weight.grad = None
    weight.data.copy_(start)
    return losses, deltas


def objective(weights: Trainable):  # type: ignore[no-untyped-def]
    def losses(batch: Sequence[Example]) -> Losses:
        each = nll(weights.logits, batch)
        return Losses(each, each.mean)

    return losses


def alone(session: object, layer: int, edits: Sequence[Example], h: FtMHparams):  # type: ignore[no-untyped-def]
    losses: list[float] = []
    deltas: list[Tensor] = []
    site = Site("mlp_out", layer)
    for edit in edits:
        copies = Copies(session, [site])  # type: ignore[arg-type]
        losses += train_(copies, [edit], h, objective(copies), lambda _: None).losses
        deltas.append(copies.delta(site).T)
    return losses, deltas


def together(session: object, layer: int, edits: Sequence[Example], h: FtMHparams):  # type: ignore[no-untyped-def]
    site = Site("mlp_out", layer)
    weights = Branched(session, [site], [edit.index for edit in edits])  # type: ignore[arg-type]
    trained = train_each_(weights, edits, h, objective(weights), lambda _: None)
    losses = [loss for edit in edits for loss in trained[edit.index].losses]
    return losses, [weights.deltas[edit.index][site].detach().T for edit in edits]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ft", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--edits", type=int, default=8)
    parser.add_argument("--layer", type=int, help="block of the trained matrix; default: a quarter of the depth")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape = SHAPES[arguments.shape]
    session = open_random(shape)
    layer = shape.layers // 4 if arguments.layer is None else arguments.layer
    h = FtMHparams(steps=shape.steps, stop_loss=0.0)
    edits = examples(shape, arguments.edits)
    ways = {
        "plain": lambda: plain(session, layer, edits, h),
        "ft-m, one by one": lambda: alone(session, layer, edits, h),
        "ft-m, side by side": lambda: together(session, layer, edits, h),
    }
    found = compare(ways, arguments.repeats)
    print(f"random GPT-2, {shape.layers} layers of {shape.width}, vocabulary {shape.vocabulary}; layer {layer}, prompt "
          f"{shape.prompt} tokens, target {shape.target}, {shape.steps} steps\n")  # fmt: skip
    print_table(found, session.model, arguments.threads, arguments.edits)


if __name__ == "__main__":
    main()
