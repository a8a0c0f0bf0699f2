"""The loop: portions of cases, optimiser steps, measurements, early stop, and work files to resume from.

A training that was killed goes on from its last work file and ends in the same bits: the order of the cases and every
random choice follow from the seed and the number of the step, and nothing depends on when a file was written.
"""

import math
import random
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import define, field
from torch import Tensor

from editcore.training.keeping import identity, keep
from editcore.training.learner import Learner
from editcore.training.order import Order, held_out
from editcore.training.plan import Plan
from editcore.training.saved import restore, state_of, to_tensors
from editcore_hooks import Asset, Case, EditcoreError, Partial, UsageError

if TYPE_CHECKING:
    from editcore_hooks import Session

SAVE_SECONDS: Final = 20.0
MOST_SKIPPED: Final = 20
"""Steps in sequence whose gradients are not finite until the training gives up."""
LEAST_CASES: Final = 8


def fit(session: "Session", learner: Learner, cases: Sequence[Case], plan: Plan) -> Asset:
    """Train on `cases`, keep the best state as an asset, and return it; at once if the same was trained before.

    Raises `UsageError` for too few cases and an unknown figure, `EditcoreError` when gradients stay infinite.
    """
    _check(learner, cases, plan)
    named = identity(session, learner, cases, plan)
    with session.assets.lock(named):
        if (found := session.assets.find(named)) is not None:
            session.say(f"{learner.method} was trained with these settings on these cases before: {found.path.name}")
            return found
        with session.at_base():
            run = _Run(session, learner, cases, plan, session.assets.partial(named))
            run.go()
        return keep(session, named, learner, run.best, run.report())


def _check(learner: Learner, cases: Sequence[Case], plan: Plan) -> None:
    if len(cases) < LEAST_CASES:
        raise UsageError(f"{len(cases)} cases are too few to train on", hint=f"give at least {LEAST_CASES}")
    if plan.stop_on and plan.stop_on not in learner.figures:
        known = ", ".join(learner.figures)
        raise UsageError(f"{learner.method} measures no figure {plan.stop_on!r}", hint=f"choose one of {known}")


@define(eq=False)
class _Run:
    """A training in progress. `progress` holds JSON values alone: it is written into the work file as it is."""

    session: "Session"
    learner: Learner
    cases: Sequence[Case]
    plan: Plan
    partial: Partial
    best: dict[str, Tensor] = field(factory=dict, init=False)
    progress: dict[str, Any] = field(init=False)
    _saved_at: float = field(factory=time.monotonic, init=False)

    def __attrs_post_init__(self) -> None:
        self.progress = {"step": 0, "curve": [], "sums": {}, "kept": None, "stale": 0, "skipped": 0, "seconds": 0.0}

    @property
    def stop_on(self) -> str:
        """The figure that decides."""
        return self.plan.stop_on or next(iter(self.learner.figures))

    def go(self) -> None:
        """Train to the end, from the work file where there is one."""
        trained, measured = held_out(len(self.cases), self.plan.validation, self.session.seed)
        shown = [self.cases[i] for i in measured]
        order = Order(len(trained), self.plan.batch, self.session.seed)
        optimizer = self._start([self.cases[i] for i in trained])
        highest = [group["lr"] for group in optimizer.param_groups]
        started = time.monotonic() - self.progress["seconds"]
        with self.session.progress("training", self.plan.steps) as shown_progress:
            shown_progress.advance(self.progress["step"])
            while self.progress["step"] < self.plan.steps and not self._stale():
                step = self.progress["step"]
                for group, lr in zip(optimizer.param_groups, highest, strict=True):
                    group["lr"] = lr * self.plan.rate(step)
                self._step(step, order, trained, optimizer)
                self.progress["step"] = step + 1
                last = step + 1 == self.plan.steps
                figures = self._measure(shown) if (step + 1) % self.plan.every == 0 or last else None
                self.learner.stepped(figures)
                self.progress["seconds"] = time.monotonic() - started
                if time.monotonic() - self._saved_at > SAVE_SECONDS:
                    self._save(optimizer)
                shown_progress.advance()

    def report(self) -> dict[str, Any]:
        """What the asset says of its training."""
        p = self.progress
        _, measured = held_out(len(self.cases), self.plan.validation, self.session.seed)
        return {
            "curve": p["curve"],
            "kept": p["kept"],
            "stopped_on": self.stop_on,
            "stopped_early": p["step"] < self.plan.steps,
            "skipped_steps": p["skipped"],
            "steps": p["step"],
            "seconds": p["seconds"],
            "cases": len(self.cases) - len(measured),
            "validation_cases": len(measured),
        }

    def _start(self, cases: Sequence[Case]) -> torch.optim.Optimizer:
        optimizer = self.learner.optimizer()
        saved = self.partial.load()
        if saved is None:
            self.learner.prepare(cases)
            self.best = state_of(self.learner.module())
        else:
            tensors, self.progress = saved
            self.best = restore(tensors, self.learner.module(), optimizer)
            self.session.say(f"resuming after step {self.progress['step']} of {self.plan.steps}")
        return optimizer

    def _step(self, step: int, order: Order, trained: Sequence[int], optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad(set_to_none=True)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        losses: dict[str, float] = {}
        for micro in range(self.plan.accumulate):
            number = step * self.plan.accumulate + micro
            portion = [self.cases[trained[i]] for i in order.portion(number)]
            rng = random.Random(f"step/{self.session.seed}/{number}")
            found = self.learner.add_gradients(portion, 1 / self.plan.accumulate, rng)
            for name, value in found.items():
                losses[name] = losses.get(name, 0.0) + value / self.plan.accumulate
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.plan.clip)
        if not (torch.isfinite(norm) and all(map(math.isfinite, losses.values()))):
            self._skip(step)
            return
        optimizer.step()
        self.progress["in_sequence"] = 0
        for name, value in {**losses, "gradient norm": float(norm)}.items():
            total, n = self.progress["sums"].get(name, (0.0, 0))
            self.progress["sums"][name] = (total + value, n + 1)

    def _skip(self, step: int) -> None:
        """Leave out a step whose gradients are not finite. Raises `EditcoreError` when there are too many of them."""
        self.progress["skipped"] += 1
        self.progress["in_sequence"] = self.progress.get("in_sequence", 0) + 1
        if self.progress["in_sequence"] > MOST_SKIPPED:
            raise EditcoreError(
                f"{self.learner.method}: the gradients of {MOST_SKIPPED} steps up to step {step + 1} are not finite",
                hint="use --dtype float32, or smaller learning rates",
            )

    def _measure(self, cases: Sequence[Case]) -> Mapping[str, float]:
        figures = dict(self.learner.measure(cases))
        if not all(map(math.isfinite, figures.values())):
            bad = next(name for name, value in figures.items() if not math.isfinite(value))
            raise EditcoreError(
                f"{self.learner.method}: the figure {bad!r} is not finite after step {self.progress['step']}",
                hint="use --dtype float32, or smaller learning rates",
            )
        losses = {name: total / n for name, (total, n) in self.progress["sums"].items()}
        self.progress["sums"] = {}
        self.progress["curve"].append({"step": self.progress["step"], "losses": losses, "figures": figures})
        self._compare(figures)
        shown = "  ".join(f"{name} {value:.3f}" for name, value in {**losses, **figures}.items())
        self.session.say(f"step {self.progress['step']} of {self.plan.steps}  {shown}")
        return figures

    def _compare(self, figures: Mapping[str, float]) -> None:
        value, kept = figures[self.stop_on], self.progress["kept"]
        higher = self.learner.figures[self.stop_on] == "higher"
        if kept is None or (value > kept["value"] if higher else value < kept["value"]):
            self.progress["kept"] = {"step": self.progress["step"], "figure": self.stop_on, "value": value}
            self.progress["stale"] = 0
            self.best = state_of(self.learner.module())
        else:
            self.progress["stale"] += 1

    def _stale(self) -> bool:
        return 0 < self.plan.patience <= int(self.progress["stale"])

    def _save(self, optimizer: torch.optim.Optimizer) -> None:
        self.partial.save(to_tensors(self.learner.module(), self.best, optimizer), self.progress)
        self._saved_at = time.monotonic()
