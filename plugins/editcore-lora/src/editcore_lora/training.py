"""The loop: Adam on the adapters, with AdaLoRA's allocator called after every update."""

from collections.abc import Callable, Sequence
from math import isfinite

import torch

from editcore_ft.loop import Trained
from editcore_ft.objective import Example, nll
from editcore_hooks import EditcoreError
from editcore_lora.adapters import Adapters
from editcore_lora.hparams import AdaLoraHparams, LoraHparams


def train_(
    adapters: Adapters, batches: Sequence[Sequence[Example]], hparams: LoraHparams, advance: Callable[[int], None]
) -> Trained:
    """Train until the NLL of every request is below `stop_loss`, for `steps` passes at most.

    A batch of which that holds takes no step. AdaLoRA goes on until its allocator has pruned down to `rank`: before
    that, what is trained has another rank than what is kept. Raises `EditcoreError` when a loss is no longer finite.
    """
    leaves = adapters.leaves
    adam = torch.optim.Adam(leaves, lr=hparams.lr)
    pruned = pruned_at(hparams, hparams.steps * len(batches))
    losses: list[float] = []
    updates = 0
    adapters.train_(hparams.dropout > 0)
    for _ in range(hparams.steps):
        seen: list[float] = []
        for batch in batches:
            with torch.enable_grad():
                each = nll(adapters.logits, batch)  # (E,)
                own = each.tolist()
                if not all(map(isfinite, own)):
                    raise diverged(hparams)
                seen += own
                if max(own) >= hparams.stop_loss or updates < pruned:
                    loss = each.mean() + adapters.penalty()
                    # peft's allocator reads the gradients where they are kept
                    for leaf, gradient in zip(leaves, torch.autograd.grad(loss, leaves), strict=True):
                        leaf.grad = gradient
                    adam.step()
                    updates += 1
                    adapters.allocate(updates)
        losses.append(sum(seen) / len(seen))
        advance(1)
        if max(seen) < hparams.stop_loss and updates >= pruned:
            break
    adapters.train_(False)
    return Trained(len(losses), updates, tuple(losses))


def pruned_at(hparams: LoraHparams, updates: int) -> int:
    """The update after which pruning has ended, of so many in all; 0 where nothing is pruned."""
    return updates - int(hparams.final * updates) if isinstance(hparams, AdaLoraHparams) else 0


def diverged(hparams: LoraHparams) -> EditcoreError:
    """The error for numbers that are no longer finite."""
    return EditcoreError("the training diverged", hint=f"take smaller steps: --set lr={hparams.lr / 10:g}")
