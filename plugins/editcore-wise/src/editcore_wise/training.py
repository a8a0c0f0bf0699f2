"""The loop: gradient descent on the entries of the side matrix that its shard may change, in an L∞ ball around W."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Tap, TargetLogits, Trace
from editcore_hooks import Anatomy, EditcoreError, Site
from editcore_wise.losses import Margins, activation_loss, edit_loss
from editcore_wise.reading import States
from editcore_wise.router import Activation
from editcore_wise.shards import moved


@frozen(eq=False)
class Task:
    """An edit: a forward of its rows, and what the layer reads and writes in prompts that are to be far and near.

    `inside` begins with the edit's rows, the bare prompt first; `unit` is s, in which margins are given.
    """

    anatomy: Anatomy
    site: Site
    logits: Callable[[], TargetLogits]
    inside: Sequence[States]
    outside: States
    activation: Activation
    unit: float

    def run(self, delta: Tensor) -> TargetLogits:
        """The scored logits with the side matrix W + `delta` in all rows, differentiable in `delta`."""
        with Trace(self.anatomy, {self.site: Tap(mix=lambda x, y: moved(x, y, delta))}):
            found = self.logits()
        return found

    def distances(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """D_in and D_out, in the model's own numbers."""
        inside = torch.cat([states.distances(self.activation, delta) for states in self.inside])
        return inside, self.outside.distances(self.activation, delta)


@frozen
class Step:
    """η, the largest |Δ|, the largest number of steps, and the loss at which an edit is done."""

    lr: float
    linf: float
    steps: int
    stop_loss: float


@frozen(eq=False)
class Trained:
    """The delta, D of the bare prompt, and how training ended: steps, L_FT and L_act, the largest D_out, and whether
    every token of the target is the likeliest."""

    delta: Tensor
    distance: float
    steps: int
    fit: float
    act: float
    outside: float
    written: bool

    def noted(self) -> dict[str, Any]:
        """The same as JSON values, without the delta."""
        names = ("distance", "steps", "fit", "act", "outside", "written")
        return {name: getattr(self, name) for name in names}


def train(
    task: Task, start: Tensor, mask: Tensor, margins: Margins, step: Step, advance: Callable[[int], Any]
) -> Trained:
    """Train a delta (d_out, d_in) from `start` on, in the entries of `mask`. Raises `EditcoreError` if it diverges.

    Δ ← clamp(Δ − η M ∘ ∂L/∂Δ, ±linf)
    """
    delta = start.clone().requires_grad_()
    done = 0
    with torch.enable_grad():
        while True:
            found = task.run(delta)
            inside, outside = task.distances(delta)
            fit, act = edit_loss(found), activation_loss(inside / task.unit, outside / task.unit, margins)
            loss = fit + act
            if not bool(loss.detach().isfinite()):
                raise EditcoreError("the training diverged", hint=f"take smaller steps: --set lr={step.lr / 10:g}")
            if done == step.steps or float(loss.detach()) <= step.stop_loss:
                break
            (gradient,) = torch.autograd.grad(loss, delta)
            with torch.no_grad():
                delta.sub_(step.lr * gradient * mask).clamp_(-step.linf, step.linf)
            done += 1
            advance(1)
    written = bool((found.logits.argmax(-1) == found.labels).all())
    distance, fitted, acted, largest = (float(each.detach()) for each in (inside[0], fit, act, outside.max()))
    return Trained(delta.detach(), distance, done, fitted, acted, largest, written)
