"""The value optimisation that the family shares: which v at the subject's last token makes the model say the target.

Meng et al. 2022 (ROME), section 3.1 and equation 4, with the constants of its published code.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import torch
from attrs import field, frozen
from torch import Tensor

from editcore.models.batch import forward
from editcore.models.tracing import Tap, Trace
from editcore_hooks import EditcoreError, Site
from editcore_keyvalue.rows import EditRows

if TYPE_CHECKING:
    from editcore import Session

STOP_LOSS: Final = 0.05


@frozen
class ValueSettings:
    """`steps` forwards and at most one update less; `clamp` bounds ‖δ‖ by a multiple of ‖v₀‖."""

    steps: int = 20
    lr: float = 0.5
    weight_decay: float = 0.5
    kl: float = 0.0625
    clamp: float = 4.0


@frozen
class Value:
    """v₀ (d,), δ (d,) and the losses of every step; the returned δ is the one the last forward evaluated."""

    v0: Tensor
    delta: Tensor
    losses: tuple[float, ...] = field(repr=False)

    @property
    def steps(self) -> int:
        return len(self.losses)


def optimise_value(
    session: "Session", rows: EditRows, site: Site, settings: ValueSettings, advance: Callable[[int], None]
) -> Value:
    """Minimise NLL + kl · KL + wd · ‖δ‖/‖v₀‖² over δ, added to the output of `site` at s of every row.

    KL(current || initial) is read at the subject's last token of the row `{subject} is a`. δ starts at zero; v₀ is the
    clean prompt's value. Adam's moments are not touched by the projection. Stops below a loss of 0.05.
    """
    d = session.anatomy.hidden_size
    delta = torch.zeros(d, device=session.device, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=settings.lr)
    every_row = torch.arange(len(rows.subject), device=session.device)
    v0: Tensor | None = None
    initial: Tensor | None = None  # log p at the KL row, (V,)
    losses: list[float] = []

    def add_delta(output: Tensor) -> Tensor:  # (R+1, T, d)
        nonlocal v0
        if v0 is None:
            v0 = output[0, rows.subject[0]].detach().float().clone()
        shift = torch.zeros_like(output)
        shift[every_row, rows.subject] = delta.to(output.dtype)
        return output + shift

    for step in range(settings.steps):
        with torch.enable_grad(), Trace(session.anatomy, {site: Tap(edit=add_delta)}):
            logits = forward(session.model, rows.batch)  # (R+1, T, V)
        logprobs = logits[rows.at].float().log_softmax(-1)  # (n, V)
        current = logits[-1, rows.subject[-1]].float().log_softmax(-1)  # (V,)
        if initial is None:
            initial = current.detach().clone()
        assert v0 is not None
        kl = (current.exp() * (current - initial)).sum()
        loss = rows.nll(logprobs) + settings.kl * kl + settings.weight_decay * _norm(delta) / v0.norm() ** 2
        losses.append(float(loss.detach()))
        advance(1)
        if not torch.isfinite(loss):
            raise EditcoreError(f"the value optimisation diverged at step {step}", hint="lower it: --set v_lr=0.1")
        if losses[-1] < STOP_LOSS or step == settings.steps - 1:
            break
        (delta.grad,) = torch.autograd.grad(loss, delta)
        adam.step()
        with torch.no_grad():
            limit = settings.clamp * v0.norm()
            if delta.norm() > limit:
                delta.mul_(limit / delta.norm())
    assert v0 is not None
    return Value(v0, delta.detach().clone(), tuple(losses))


def _norm(delta: Tensor) -> Tensor:
    """‖δ‖ with gradient 0 at δ = 0, where the plain norm's is undefined."""
    square = delta.square().sum()
    return torch.where(square > 0, square, torch.ones_like(square)).sqrt() * (square > 0)
