"""The loop: Adam on the neurons of one edit, until the model writes the target and the memory no longer gains.

Everything below the MLP of the edited block is the same in every step and was computed once; a step runs that block and
the head. With an encoder only the encoder is run once, and a step runs the decoder.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Tap, TargetLogits, Trace
from editcore_hooks import Anatomy, EditcoreError, Site
from editcore_tpatcher.hparams import TPatcherHparams
from editcore_tpatcher.losses import edit_loss, fire_loss, memory_loss
from editcore_tpatcher.memory import Memory
from editcore_tpatcher.neurons import Neurons

FACTOR: Final = 0.5
RELATIVE: Final = 0.05
PATIENCE: Final = 1
GAIN: Final = 1e-3


@frozen(eq=False)
class Task:
    """What the neurons are trained on: a forward of the rows, the states (B, T, d) that the MLP reads in it, the states
    of the edit (Q, d), the memory, and γ₂."""

    anatomy: Anatomy
    site: Site
    logits: Callable[[], TargetLogits]
    states: Tensor
    queries: Tensor
    memory: Memory
    silent: float

    def run(self, neurons: Neurons) -> TargetLogits:
        """The scored logits with the neurons beside the MLP, differentiable in them."""
        added = neurons.added(self.states)  # (B, T, d)
        with Trace(self.anatomy, {self.site: Tap(edit=lambda output: output + added.to(output.dtype))}):
            found = self.logits()
        return found

    def loss(self, neurons: Neurons, found: TargetLogits, hparams: TPatcherHparams) -> Tensor:
        at_queries = neurons.before(self.queries)
        fire = fire_loss(at_queries, hparams)
        spared = memory_loss(neurons.before(self.memory.trained), at_queries, self.silent, hparams)
        return edit_loss(found, hparams.smoothing) + hparams.fire_weight * fire + hparams.memory_weight * spared


@frozen
class Trained:
    """How training ended: steps run, whether every token of the target is the likeliest, the loss before and after."""

    steps: int
    written: bool
    losses: tuple[float, float]
    kept_at: int


def train_(neurons: Neurons, task: Task, hparams: TPatcherHparams, advance: Callable[[int], Any]) -> Trained:
    """Train the leaves of `neurons`, and leave the best: of the checks that write the target, the quietest on what is
    held out."""
    adam = torch.optim.Adam(neurons.leaves, lr=hparams.lr, weight_decay=hparams.weight_decay)
    halve = torch.optim.lr_scheduler.ReduceLROnPlateau(
        adam, factor=FACTOR, patience=PATIENCE, threshold=RELATIVE, threshold_mode="rel"
    )
    best = _Best(neurons)
    first = float("nan")
    step = 0
    for step in range(1, hparams.steps + 1):
        loss = task.loss(neurons, task.run(neurons), hparams)
        if not bool(loss.isfinite()):
            raise EditcoreError("the training diverged", hint=f"take smaller steps: --set lr={hparams.lr / 10:g}")
        first = float(loss.detach()) if step == 1 else first
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(neurons.leaves, hparams.clip)
        adam.step()
        advance(1)
        if step % hparams.check_every == 0 or step == hparams.steps:
            halve.step(best.look(step, task, hparams))
            if step >= hparams.first_check and best.settled:
                break
    best.restore_()
    return Trained(step, best.written, (first, best.loss), best.step)


class _Best:
    """The best neurons of all checks, and for how many the memory has not gained since the target is written."""

    def __init__(self, neurons: Neurons) -> None:
        self._neurons = neurons
        self._kept = [leaf.detach().clone() for leaf in neurons.leaves]
        self._order = (True, float("inf"))
        self._waited = 0
        self.step, self.loss = 0, float("nan")

    @property
    def written(self) -> bool:
        return not self._order[0]

    @property
    def settled(self) -> bool:
        """Whether the target is written, and the memory has stopped to gain."""
        return self.written and self._waited > PATIENCE

    @torch.no_grad()
    def look(self, step: int, task: Task, hparams: TPatcherHparams) -> float:
        """Check the neurons as they are; their loss, with what is held out in place of the memory."""
        found = task.run(self._neurons)
        written = bool((found.logits.argmax(-1) == found.labels).all())
        at_queries = self._neurons.before(task.queries)
        spared = float(memory_loss(self._neurons.before(task.memory.held_out), at_queries, task.silent, hparams))
        edit = edit_loss(found, hparams.smoothing) + hparams.fire_weight * fire_loss(at_queries, hparams)
        loss = float(edit) + hparams.memory_weight * spared
        order = (not written, spared if written else float(edit))
        gained = order[0] < self._order[0] or (order[0] == self._order[0] and order[1] < self._order[1] - GAIN)
        self._waited = 0 if gained else self._waited + 1
        if gained:
            self._order, self.step, self.loss = order, step, loss
            self._kept = [leaf.detach().clone() for leaf in self._neurons.leaves]
        return loss

    @torch.no_grad()
    def restore_(self) -> None:
        for leaf, kept in zip(self._neurons.leaves, self._kept, strict=True):
            leaf.copy_(kept)
