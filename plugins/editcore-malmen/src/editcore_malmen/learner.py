"""How the nets of MALMEN learn: by two phases, so that no graph goes through the model and the nets at once.

1. Keys, gradients and residuals D of all edits of a portion, and the solve, without gradients.
2. The losses of the model with the change, in chunks, whose gradient of the unknown is added up; then by the chain rule
   of the solve to D and λ, and from D to the nets, in chunks of rows.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs
import torch
from attrs import define, field
from torch import Tensor, nn

from editcore.authoring.models import Item, branch
from editcore.authoring.training import Better
from editcore_hooks import Case, Dense, LowRank, Site
from editcore_malmen.hparams import MalmenHparams
from editcore_malmen.keys import Keys, joined, keys_of
from editcore_malmen.nets import Residuals
from editcore_malmen.solve import Solved, solve
from editcore_mend.episode import Episode, Reader
from editcore_mend.losses import Scored, edit_loss, locality_loss
from editcore_mend.nets import settings_of
from editcore_mend.sites import shapes_of

if TYPE_CHECKING:
    from editcore_hooks import Session

STATISTICS: Final = 512
ITEMS: Final = 64
"""Texts of one forward."""
ROWS: Final = 1024
"""Keys that go through the nets at once."""

Solution = dict[Site, Solved]


@define(eq=False)
class MalmenLearner:
    """The nets of MALMEN for `sites` of the session's model."""

    method: ClassVar[str] = "malmen"

    session: "Session"
    hparams: MalmenHparams
    sites: tuple[Site, ...]
    owner: str = "editcore-malmen"
    nets: Residuals = field(init=False)
    reader: Reader = field(init=False)

    def __attrs_post_init__(self) -> None:
        shapes = shapes_of(self.session, self.sites)
        h = self.hparams
        self.nets = Residuals(shapes, h.rank, h.blocks, h.edit_lr, h.ridge, self.session.seed).to(self.session.device)
        self.reader = Reader(self.session)

    @property
    def figures(self) -> Mapping[str, Better]:
        return {"loss": "lower", "edit": "higher", "rephrase": "higher", "local": "higher"}

    def module(self) -> nn.Module:
        return self.nets

    def settings(self) -> Mapping[str, Any]:
        h = attrs.asdict(self.hparams)
        return settings_of(self.sites, **{k: v for k, v in h.items() if k not in ("layers", "roles", "editor")})

    def prepare(self, cases: Sequence[Case]) -> None:
        items = [self.reader.texts(case).edit for case in cases[:STATISTICS]]
        self.nets.collect(keys_of(self.session.anatomy, items, self.sites, self.hparams.tokens))

    def optimizer(self) -> torch.optim.Optimizer:
        h = self.hparams
        nets = {"params": list(self.nets.nets.parameters()), "lr": h.lr}
        return torch.optim.Adam([nets, {"params": [self.nets.step, self.nets.log_ridge], "lr": h.step_lr}])

    def add_gradients(self, cases: Sequence[Case], share: float, rng: random.Random) -> Mapping[str, float]:
        episode = self.reader.episode(cases, rng, self.hparams.local)
        keys = self.keys(episode.edits)
        solution = self.solution(keys)
        losses, gradients = self.through_model(episode, solution, share)
        self.through_solve(keys, solution, gradients)
        return losses

    def keys(self, items: Sequence[Item]) -> Mapping[Site, tuple[Tensor, Tensor]]:
        """The keys of all items, and their gradients."""
        each: list[Keys] = keys_of(self.session.anatomy, items, self.sites, self.hparams.tokens)
        return joined(each, self.sites)

    @torch.no_grad()
    def solution(self, keys: Mapping[Site, tuple[Tensor, Tensor]]) -> Solution:
        """The solve of each site, without gradients."""
        return {
            site: solve(u, self.nets.residuals(site, u, delta), self.nets.ridge(site))
            for site, (u, delta) in keys.items()
        }

    def through_model(
        self, episode: Episode, solution: Solution, share: float
    ) -> tuple[Mapping[str, float], dict[Site, Tensor]]:
        """The losses, and the gradient of each unknown, added up over chunks of texts."""
        h = self.hparams
        leaves = {site: one.unknown.clone().requires_grad_() for site, one in solution.items()}
        updates = {site: one.update(leaves[site]) for site, one in solution.items()}
        losses = {"edit loss": 0.0, "locality loss": 0.0}
        anatomy = self.session.anatomy
        for name, weight, items, score in (
            ("edit loss", h.c_edit, episode.outer, edit_loss),
            ("locality loss", h.c_loc, episode.local, locality_loss),
        ):
            for some in chunks(items):
                loss = score(anatomy, some, self.sites, branch(anatomy, updates)).loss.sum() / len(items)
                losses[name] += float(loss.detach())
                (share * weight * loss).backward()  # type: ignore[no-untyped-call]
        zeros = {site: torch.zeros_like(leaf) for site, leaf in leaves.items()}
        return losses, {site: zeros[site] if leaf.grad is None else leaf.grad for site, leaf in leaves.items()}

    def through_solve(
        self,
        keys: Mapping[Site, tuple[Tensor, Tensor]],
        solution: Solution,
        gradients: Mapping[Site, Tensor],
    ) -> None:
        """From the gradients of the unknowns to those of the nets and of λ."""
        for site, (u, delta) in keys.items():
            of_residuals, of_lambda = solution[site].gradients(gradients[site])
            number = self.nets.sites.index(site)
            pick = torch.zeros_like(self.nets.log_ridge)
            pick[number] = of_lambda
            (self.nets.log_ridge * pick).sum().backward()  # type: ignore[no-untyped-call]
            for start in range(0, len(u), ROWS):
                cut = slice(start, start + ROWS)
                residuals = self.nets.residuals(site, u[cut], delta[cut])
                (residuals * of_residuals[cut]).sum().backward()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def measure(self, cases: Sequence[Case]) -> Mapping[str, float]:
        """The cases as one edit of all of them."""
        episode = self.reader.whole(cases)
        updates = {site: one.update() for site, one in self.solution(self.keys(episode.edits)).items()}
        edit = self._scored(episode.edits, updates, edit_loss)
        outer = self._scored(episode.outer, updates, edit_loss)
        local = self._scored(episode.local, updates, locality_loss)
        h = self.hparams
        edits = torch.cat([edit.loss, outer.loss])
        loss = h.c_edit * float(edits.mean()) + (h.c_loc * float(local.loss.mean()) if len(local.loss) else 0.0)
        return {
            "loss": loss,
            "edit": float(edit.exact.mean()),
            "rephrase": float(outer.exact.mean()) if len(outer.exact) else 1.0,
            "local": float(local.share.mean()) if len(local.share) else 1.0,
        }

    def _scored(self, items: Sequence[Item], updates: "Updates", score: "Score") -> Scored:
        anatomy = self.session.anatomy
        found = [score(anatomy, some, self.sites, branch(anatomy, updates)) for some in chunks(items)]
        empty = [torch.zeros(0)]
        return Scored(
            torch.cat([one.loss for one in found] or empty),
            torch.cat([one.exact for one in found] or empty),
            torch.cat([one.share for one in found] or empty),
        )

    def stepped(self, measured: Mapping[str, float] | None) -> None:
        """Nothing has to follow a step."""


Updates = Mapping[Site, LowRank | Dense]
Score = Callable[..., Scored]


def chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The texts in portions of one forward."""
    for start in range(0, len(items), ITEMS):
        yield items[start : start + ITEMS]
