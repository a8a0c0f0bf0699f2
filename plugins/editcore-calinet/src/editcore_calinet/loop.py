"""The loop: Adam on the slots, over all requests, and an end when the loss of each is small."""

from collections.abc import Callable, Sequence
from math import isfinite

import torch
from attrs import field, frozen

from editcore_calinet.hparams import CalinetHparams
from editcore_calinet.slots import Slotted
from editcore_calinet.sparing import Spared
from editcore_ft.objective import Example, nll
from editcore_hooks import EditcoreError


@frozen
class Trained:
    """Passes, updates, and the mean loss of each pass before its updates."""

    passes: int
    updates: int
    losses: tuple[float, ...] = field(repr=False)


def train_(
    slotted: Slotted,
    batches: Sequence[Sequence[Example]],
    spared: Sequence[Sequence[Spared]],
    hparams: CalinetHparams,
    advance: Callable[[int], None],
) -> Trained:
    """Train the slots until the loss of every request is below `stop_loss`, for `steps` passes at most.

    A batch of which that holds takes no step; `spared` is what each batch is to leave alone.
    Raises `EditcoreError` when a loss is no longer finite.
    """
    adam = torch.optim.Adam(slotted.leaves, lr=hparams.lr)
    losses: list[float] = []
    updates = 0
    for _ in range(hparams.steps):
        seen: list[float] = []
        for batch, left_alone in zip(batches, spared, strict=True):
            with torch.enable_grad():
                each = nll(slotted.logits, batch)  # (E,)
                own = each.tolist()
                if not all(map(isfinite, own)):
                    raise EditcoreError(
                        "the training diverged", hint=f"take smaller steps: --set lr={hparams.lr / 10:g}"
                    )
                seen += own
                if max(own) >= hparams.stop_loss:
                    loss = each.mean() + hparams.spare_weight * sum(one(slotted) for one in left_alone)
                    # by name: `backward` would leave gradients on live parameters that happen to require them
                    gradients = torch.autograd.grad(loss, slotted.leaves)
                    for leaf, gradient in zip(slotted.leaves, gradients, strict=True):
                        leaf.grad = gradient
                    adam.step()
                    updates += 1
        losses.append(sum(seen) / len(seen))
        advance(1)
        if max(seen) < hparams.stop_loss:
            break
    return Trained(len(losses), updates, tuple(losses))
