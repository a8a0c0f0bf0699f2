"""The loop: Adam on the copies, a projection after every step, and an end when the loss is small."""

from collections.abc import Callable, Sequence
from math import isfinite

import torch
from attrs import field, frozen

from editcore_ft.constraint import Divergence, project_
from editcore_ft.hparams import FtHparams
from editcore_ft.objective import Example, nll
from editcore_ft.weights import Copies
from editcore_hooks import EditcoreError


@frozen
class Trained:
    """Passes made, updates among them, and the mean NLL of each pass before its updates."""

    passes: int
    updates: int
    losses: tuple[float, ...] = field(repr=False)


def train_(
    copies: Copies,
    batches: Sequence[Sequence[Example]],
    hparams: FtHparams,
    penalty: Divergence | None,
    advance: Callable[[int], None],
) -> Trained:
    """Train the copies on `batches` until their mean NLL is below `stop_loss`, for `steps` passes at most.

    A batch that is below it takes no step, but is projected. Under `depth` every batch has its own passes and its own
    Adam. Raises `EditcoreError` when the loss is no longer finite.
    """
    if hparams.schedule == "depth":
        runs = [_passes(copies, [batch], hparams, penalty, advance) for batch in batches]
        return Trained(
            max(run.passes for run in runs),
            sum(run.updates for run in runs),
            tuple(loss for run in runs for loss in run.losses),
        )
    return _passes(copies, batches, hparams, penalty, advance)


def _passes(
    copies: Copies,
    batches: Sequence[Sequence[Example]],
    hparams: FtHparams,
    penalty: Divergence | None,
    advance: Callable[[int], None],
) -> Trained:
    leaves = list(copies.trained.values())
    adam = torch.optim.Adam(leaves, lr=hparams.lr, weight_decay=hparams.weight_decay)
    losses: list[float] = []
    updates = 0
    for _ in range(hparams.steps):
        total = 0.0
        for batch in batches:
            with torch.enable_grad():
                loss = nll(copies.logits, batch).mean()
                value = float(loss.detach())
                if not isfinite(value):
                    raise EditcoreError("the training diverged", hint=f"lower the step: --set lr={hparams.lr / 10:g}")
                total += value * len(batch)
                if value >= hparams.stop_loss:
                    if penalty is not None:
                        loss = loss + penalty(copies.logits)
                    # by name: `backward` would leave gradients on live parameters that happen to require them
                    for leaf, gradient in zip(leaves, torch.autograd.grad(loss, leaves), strict=True):
                        leaf.grad = gradient
                    adam.step()
                    updates += 1
            for site, leaf in copies.trained.items():
                project_(leaf, copies.anchor[site], hparams)
        losses.append(total / sum(map(len, batches)))
        advance(1)
        if losses[-1] < hparams.stop_loss:
            break
    return Trained(len(losses), updates, tuple(losses))
