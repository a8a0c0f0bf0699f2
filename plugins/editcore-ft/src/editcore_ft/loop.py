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
    """Passes (of the longest run under `depth`), updates, and the mean NLL of each pass before its updates."""

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
    """Train the copies on `batches` until the NLL of every request is below `stop_loss`, for `steps` passes at most.

    A batch of which that holds takes no step, but is projected. (Published code compares the mean of the batch, which
    is the same for a batch of one.) Under `depth` every batch has its own passes and its own Adam. Raises
    `EditcoreError` when a loss is no longer finite.
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
        seen: list[float] = []
        for batch in batches:
            with torch.enable_grad():
                each = nll(copies.logits, batch)  # (E,)
                own = each.tolist()
                if not all(map(isfinite, own)):
                    raise diverged(hparams)
                seen += own
                if max(own) >= hparams.stop_loss:
                    loss = each.mean()
                    if penalty is not None:
                        loss = loss + penalty(copies.logits)
                    # by name: `backward` would leave gradients on live parameters that happen to require them
                    for leaf, gradient in zip(leaves, torch.autograd.grad(loss, leaves), strict=True):
                        leaf.grad = gradient
                    adam.step()
                    updates += 1
            for site, leaf in copies.trained.items():
                project_(leaf, copies.anchor[site], hparams)
        losses.append(sum(seen) / len(seen))
        advance(1)
        if max(seen) < hparams.stop_loss:
            break
    return Trained(len(losses), updates, tuple(losses))


def diverged(hparams: FtHparams) -> EditcoreError:
    """The error for numbers that are no longer finite."""
    return EditcoreError("the training diverged", hint=f"take smaller steps: --set lr={hparams.lr / 10:g}")
