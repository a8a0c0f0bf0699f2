"""How RLEdit's nets learn: MALMEN's edits in sequence, each on the model with those before it, judged by what follows.

J_t = Σᵢ γⁱ NLL(texts of edit t − i) + c |ΔW_t|² + c_loc Σᵢ γⁱ KL(before ΔW_t ‖ after ΔW_t, other texts of edit t − i)

The gradient of each edit goes through its own solve alone; one step is taken for a whole sequence. Li et al. 2025
(arXiv:2502.05759). Theirs adds |ΔW|² as a constant, so that it has no effect; here it has its gradient.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from editcore.authoring.models import Item, branch
from editcore_hooks import Case, Dense, LowRank, Site
from editcore_malmen.hparams import RlEditHparams
from editcore_malmen.learner import MalmenLearner, Solution, chunks
from editcore_mend.episode import Episode
from editcore_mend.losses import edit_loss, locality_loss


class RlEditLearner(MalmenLearner):
    """A portion of cases is a sequence of edits of `hparams.size` facts; the last edit has what is left."""

    method = "rledit"

    @property
    def sequence(self) -> RlEditHparams:
        """The settings of sequences."""
        assert isinstance(self.hparams, RlEditHparams)
        return self.hparams

    def add_gradients(self, cases: Sequence[Case], share: float, rng: random.Random) -> Mapping[str, float]:
        h = self.sequence
        edits = [cases[i : i + h.size] for i in range(0, len(cases), h.size)]
        so_far: dict[Site, Tensor] = {}
        past: list[Episode] = []
        sums: dict[str, float] = {}
        for some in edits:
            past.append(self.reader.episode(some, rng, h.local))
            with self._on(so_far):
                keys = self.keys(past[-1].edits)
            solution = self.solution(keys)
            losses, gradients = self._judge(past, solution, so_far, share / len(edits))
            self.through_solve(keys, solution, gradients)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value / len(edits)
            for site, one in solution.items():
                delta = dense(one.update())
                so_far[site] = so_far[site] + delta if site in so_far else delta
        return sums

    def _judge(
        self, past: Sequence[Episode], solution: Solution, so_far: Mapping[Site, Tensor], share: float
    ) -> tuple[Mapping[str, float], dict[Site, Tensor]]:
        """The losses of J_t and the gradient of each unknown."""
        h, anatomy = self.sequence, self.session.anatomy
        leaves = {site: one.unknown.clone().requires_grad_() for site, one in solution.items()}
        updates = {site: one.update(leaves[site]) for site, one in solution.items()}
        losses = {"edit loss": 0.0, "locality loss": 0.0}
        for i, episode in enumerate(reversed(past[-h.memory :])):
            weight = h.discount**i
            for some in chunks(episode.outer):
                loss = edit_loss(anatomy, some, self.sites, self._on(so_far, updates)).loss.sum() / len(episode.outer)
                losses["edit loss"] += weight * float(loss.detach())
                (share * h.c_edit * weight * loss).backward()  # type: ignore[no-untyped-call]
            for some in chunks(episode.local):
                loss = self._local(some, so_far, updates).sum() / len(episode.local)
                losses["locality loss"] += weight * float(loss.detach())
                (share * h.c_loc * weight * loss).backward()  # type: ignore[no-untyped-call]
        size = torch.stack([square(one) for one in updates.values()]).sum()
        if h.c_size:
            (share * h.c_size * size).backward()  # type: ignore[no-untyped-call]
        losses["size"] = float(size.detach())
        zeros = {site: torch.zeros_like(leaf) for site, leaf in leaves.items()}
        return losses, {site: zeros[site] if leaf.grad is None else leaf.grad for site, leaf in leaves.items()}

    def _local(
        self, items: Sequence[Item], so_far: Mapping[Site, Tensor], updates: Mapping[Site, LowRank | Dense]
    ) -> Tensor:
        under = self._on(so_far, updates)
        return locality_loss(self.session.anatomy, items, self.sites, under, self._on(so_far)).loss

    def _on(
        self, so_far: Mapping[Site, Tensor], updates: Mapping[Site, LowRank | Dense] | None = None
    ) -> AbstractContextManager[None]:
        """The model with the edits so far, and with the one in question; never in the weights."""
        return _both(self.session.anatomy, {site: Dense(delta) for site, delta in so_far.items()}, updates or {})


@contextmanager
def _both(anatomy: Any, one: Mapping[Site, Dense], other: Mapping[Site, LowRank | Dense]) -> Iterator[None]:
    with ExitStack() as entered:
        for updates in (one, other):
            if updates:
                entered.enter_context(branch(anatomy, updates))
        yield


def dense(update: LowRank | Dense) -> Tensor:
    """ΔW (d_out, d_in)."""
    found: Tensor = update.delta if isinstance(update, Dense) else update.out @ update.in_
    return found


def square(update: LowRank | Dense) -> Tensor:
    """|ΔW|², of factors by their products with themselves."""
    found: Tensor
    if isinstance(update, Dense):
        found = (update.delta**2).sum()
    else:
        found = ((update.out.T @ update.out) * (update.in_ @ update.in_.T)).sum()
    return found
