"""The columns of Wₘ by gradient descent: only those of the masks get a gradient."""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Item, TargetLogits, target_logits
from editcore_ft.loop import in_batches
from editcore_ft.objective import Example, nll
from editcore_ft.training import final_losses
from editcore_hooks import EditcoreError, Site
from editcore_memoir.hparams import MemoirHparams
from editcore_memoir.memory import Trial

if TYPE_CHECKING:
    from editcore_hooks import Session


@frozen(eq=False)
class Trained:
    """The increment (U, d_out), the loss of each request with it, and the passes."""

    matrix: Tensor
    losses: list[float]
    passes: int


def train(
    session: "Session",
    rows: Sequence[Example],
    site: Site,
    masks: Tensor,
    columns: Tensor,
    before: Tensor,
    hparams: MemoirHparams,
) -> Trained:
    """Train an increment beside `before` (U, d_out), for masks (E, U) of E requests in the columns (U,).

    A batch whose losses are all below `stop_loss` takes no step. Raises `EditcoreError` when a loss is not finite.
    """
    increment = torch.zeros_like(before).requires_grad_()
    descent = torch.optim.SGD([increment], lr=hparams.lr, weight_decay=hparams.weight_decay)
    trial = Trial(site, masks, columns)
    batches = in_batches(rows, hparams.batch_size)

    def logits(items: Sequence[Item], owners: Sequence[int]) -> TargetLogits:
        trial.owners, trial.matrix = owners, before + increment
        return target_logits(session.model, items)

    passes = 0
    with session.live.memories.trying(trial), session.progress("memory", hparams.steps) as progress:
        while passes < hparams.steps:
            open_ = False
            for batch in batches:
                with torch.enable_grad():
                    each = nll(logits, batch)  # (E,)
                own = each.tolist()
                if not all(map(isfinite, own)):
                    hint = f"take smaller steps: --set lr={hparams.lr / 10:g}"
                    raise EditcoreError("the training of the memory diverged", hint=hint)
                if max(own) < hparams.stop_loss:
                    continue
                open_ = True
                (increment.grad,) = torch.autograd.grad(each.mean(), [increment])
                torch.nn.utils.clip_grad_norm_([increment], hparams.clip)
                descent.step()
            if not open_:
                break
            passes += 1
            progress.advance()
        with torch.no_grad():
            losses = final_losses(lambda batch: nll(logits, batch), batches, len(masks))
    return Trained(increment.detach(), losses, passes)
