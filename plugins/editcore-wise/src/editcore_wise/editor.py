"""One edit: its rows, what the layer reads and writes for them, and the training of the shard on them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Tap, Trace, cached_logits, mlp_of
from editcore_hooks import EditRequest, Site
from editcore_wise.earlier import Ids, Open
from editcore_wise.hparams import WiseHparams
from editcore_wise.losses import Margins
from editcore_wise.masks import mask_of
from editcore_wise.prompts import edit_rows, irrelevant_rows
from editcore_wise.reading import read, states_of
from editcore_wise.router import Activation
from editcore_wise.scale import Scale, scale_of
from editcore_wise.training import Step, Task, Trained, train

if TYPE_CHECKING:
    from editcore_hooks import Session

TOGETHER: Final = 32
"""Prompts that are read in one batch."""


@frozen(eq=False)
class Editor:
    """What all edits of a call share. Its model is without side matrices of the rule at hand."""

    session: "Session"
    site: Site
    hparams: WiseHparams
    activation: Activation
    scale: Scale

    @classmethod
    def of(cls, session: "Session", site: Site, hparams: WiseHparams) -> Self:
        activation = mlp_of(session.anatomy, Site("block", site.layer)).activation
        return cls(session, site, hparams, activation, scale_of(session, site, activation, hparams))

    def edit_(
        self,
        shard: Open,
        request: EditRequest,
        own: Sequence[Ids],
        others: Sequence[Ids],
        draw: int,
        advance: Callable[[int], Any],
    ) -> Trained:
        """Write the request into the shard, whose delta and prompts change. `own` and `others` are replayed;
        `draw` seeds the choice of irrelevant prompts."""
        session, hparams = self.session, self.hparams
        rows = edit_rows(session, request, hparams)
        # an owner each: a row must hold one item, since what the layer reads is kept by item
        logits = cached_logits(session.anatomy, rows, [self.site], owners=range(len(rows)))
        with torch.no_grad(), Trace(session.anatomy, {self.site: Tap(input=True, output=True)}) as trace:
            logits()
        inside = [states_of(trace, self.site, [len(prompt) for prompt, _ in rows])]
        inside += [read(session, self.site, own)] if own else []
        generator = torch.Generator().manual_seed(draw)
        irrelevant = irrelevant_rows(session, request, hparams, generator)
        outside = read(session, self.site, [*irrelevant, *others])
        task = Task(session.anatomy, self.site, logits, inside, outside, self.activation, self.scale.distance)
        margins = Margins(hparams.alpha, hparams.beta, hparams.gamma)
        linf = hparams.linf * self.scale.ball
        step = Step(hparams.lr * self.scale.step, linf, hparams.steps, hparams.stop_loss)
        mask = mask_of(shard.delta.shape, shard.ratio, shard.seed).to(session.device)
        trained = train(task, shard.delta.to(session.device), mask, margins, step, advance)
        shard.delta = trained.delta
        shard.prompts.append(tuple(rows[0][0]))
        return trained

    @torch.no_grad()
    def distances(self, shard: Open) -> Tensor:
        """D of every edit of the shard, with the shard as it is now, (e,)."""
        delta, found = shard.delta.to(self.session.device), []
        for start in range(0, len(shard.prompts), TOGETHER):
            states = read(self.session, self.site, shard.prompts[start : start + TOGETHER])
            found.append(states.distances(self.activation, delta))
        return torch.cat(found)
