"""`python -m benchmarks.trained`: steps of MEND's training and edits against a plain loop, in one run, on the demo.

The plain loop trains as published code does: one edit at a time, whole forwards of the model, a dense gradient and a
dense change of each matrix. Both have the same nets, cases and losses, and the first losses must agree. Processor
seconds, so that a busy machine counts less; the floor is the FLOP of the blocks alone.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch

import editcore
import editcore_demo
from benchmarks.machine import describe_machine, peak_flops
from benchmarks.trained_plain import plain_step
from editcore.authoring.evaluation import parse_case
from editcore.authoring.models import cached_logits
from editcore_demo.split import training_cases
from editcore_hooks import Case, Site
from editcore_mend.factors import by_site, factors, mean_nll
from editcore_mend.hparams import MendHparams
from editcore_mend.learner import MendLearner

LAYERS: Final = (5, 6, 7)
SITES: Final = tuple(Site(role, layer) for layer in LAYERS for role in ("mlp_in", "mlp_out"))
Work = Callable[[], Any]


def seconds(work: Work, repeats: int) -> float:
    """Processor seconds of the fastest of several runs, after one to warm up."""
    work()
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return min(taken)


def forward_and_backward(session: editcore.Session, case: Case) -> None:
    """What any method of this kind needs: the loss, and its gradients at the outputs of the same matrices."""
    row = session.encode(case.request)
    run = cached_logits(session.anatomy, [(row.prompt_ids, row.target_ids)], SITES)
    leaf: list[torch.Tensor] = []
    module = session.anatomy.module(SITES[0])

    def add(_: Any, __: Any, y: torch.Tensor) -> torch.Tensor:
        leaf.append(torch.zeros_like(y, requires_grad=True))
        return y + leaf[0]

    handle = module.register_forward_hook(add)
    try:
        with torch.enable_grad():
            torch.autograd.grad(mean_nll(run(), 1).sum(), leaf)
    finally:
        handle.remove()


def edit(learner: MendLearner, case: Case) -> None:
    """An edit without the host around it: one forward, one backward, and the nets."""
    row = learner.session.encode(case.request)
    found, _ = factors(learner.session.anatomy, [(row.prompt_ids, row.target_ids)], SITES)
    with torch.no_grad():
        learner.editors.patch(by_site(SITES, found, 0))


def floor(session: editcore.Session, learner: MendLearner, cases: Sequence[Case]) -> float:
    """FLOP of one training step: 2 a weight and token forward, 4 backward above the lowest edited block."""
    episode = learner.reader.episode(cases, random.Random(0), learner.hparams.local)
    lengths = [[sum(map(len, item)) - 1 for item in items] for items in (episode.edits, episode.outer, episode.local)]
    edits, outer, local = map(sum, lengths)
    every = sum(p.numel() for p in session.model.parameters() if p.ndim == 2)
    upper = every * (session.anatomy.n_layers - min(LAYERS)) / session.anatomy.n_layers
    model = 2 * every * (edits + outer + local) + 2 * upper * local + 4 * upper * (edits + outer + local)
    nets = sum(p.numel() for name, p in learner.editors.named_parameters() if name.endswith((".u", ".v")))
    return model + 6 * nets * edits * len(LAYERS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trained", description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    session = editcore.open(editcore_demo.model_path())
    cases = [parse_case(row, "the demo's training cases") for row in training_cases()[: 64 + arguments.batch]]
    learner = MendLearner(session, MendHparams(rank=128, edit_lr=5e-4), SITES)
    learner.prepare(cases[arguments.batch :])
    some = cases[: arguments.batch]

    def fast() -> Any:
        learner.editors.zero_grad()
        return learner.add_gradients(some, 1.0, random.Random(0))

    def plain() -> Any:
        learner.editors.zero_grad()
        return plain_step(learner, some, random.Random(0))

    ours, theirs = fast(), plain()
    apart = max(abs(ours[name] - theirs[name]) / abs(theirs[name]) for name in theirs)
    step, loop = seconds(fast, arguments.repeats), seconds(plain, 1)
    flops = peak_flops()
    one = seconds(lambda: edit(learner, some[0]), 5 * arguments.repeats)
    least = seconds(lambda: forward_and_backward(session, some[0]), 5 * arguments.repeats)
    bound = floor(session, learner, some) / flops
    print(describe_machine(arguments.threads))
    print(f"matrix products: {flops / 1e9:.0f} GFLOP/s")
    print(f"losses of both ways differ by {apart:.1e}")
    print(f"training step of {arguments.batch} edits: plain {loop:.2f} s, ours {step:.2f} s, {loop / step:.1f} times")
    print(f"floor of the step: {bound:.2f} s, ours is {step / bound:.1f} times that")
    print(f"steps an hour: plain {3600 / loop:.0f}, ours {3600 / step:.0f}")
    print(f"edit: {one * 1e3:.1f} ms; forward and backward alone {least * 1e3:.1f} ms; {one / least:.2f} times")


if __name__ == "__main__":
    main()
