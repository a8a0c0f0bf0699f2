"""How KE's hypernetwork learns: min over the nets, max over α ≥ 0 of L_edit + α (KL − m).

α rises while other text changes by more than the margin m, and the margin shrinks once edits succeed. Both are kept
with the nets. De Cao et al. 2021 (arXiv:2104.08164), section 4.2.
"""

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from editcore.authoring.models import cached_logits
from editcore.authoring.training import Better
from editcore_hooks import Case, Site
from editcore_ke.hparams import KeHparams
from editcore_ke.nets import Hypernetwork
from editcore_ke.reading import embedded
from editcore_mend.episode import Episode, Reader
from editcore_mend.factors import factors
from editcore_mend.losses import Patches, edited, locality_loss
from editcore_mend.measuring import measured
from editcore_mend.nets import settings_of
from editcore_mend.sites import shapes_of

if TYPE_CHECKING:
    from editcore_hooks import Session

FLIPPED: Final = 0.9
"""Share of edits right above which the margin shrinks."""


@define(eq=False)
class KeLearner:
    """The hypernetwork of KE for `sites` of the session's model."""

    method: ClassVar[str] = "ke"
    owner: ClassVar[str] = "editcore-ke"

    session: "Session"
    hparams: KeHparams
    sites: tuple[Site, ...]
    net: Hypernetwork = field(init=False)
    reader: Reader = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.net = made(self.session, self.sites, attrs.asdict(self.hparams), self.session.seed)
        self.reader = Reader(self.session)

    @property
    def figures(self) -> Mapping[str, Better]:
        return {"loss": "lower", "edit": "higher", "rephrase": "higher", "local": "higher"}

    def module(self) -> nn.Module:
        return self.net

    def settings(self) -> Mapping[str, Any]:
        h = attrs.asdict(self.hparams)
        return settings_of(self.sites, **{k: v for k, v in h.items() if k not in ("layers", "roles", "editor")})

    def prepare(self, cases: Sequence[Case]) -> None:
        """KE has no statistics."""

    def optimizer(self) -> torch.optim.Optimizer:
        nets = [p for name, p in self.net.named_parameters() if name != "multiplier"]
        h = self.hparams
        multiplier = {"params": [self.net.multiplier], "lr": h.alpha_lr}
        return torch.optim.RMSprop([{"params": nets, "lr": h.lr}, multiplier], centered=True)

    def add_gradients(self, cases: Sequence[Case], share: float, rng: random.Random) -> Mapping[str, float]:
        episode = self.reader.episode(cases, rng, self.hparams.local)
        patches = self.patches(episode)
        edit = self._smoothed(episode, patches)
        local = self._divergence(episode, patches)
        alpha = self.net.multiplier.detach()
        (share * (edit + alpha * local)).backward()  # type: ignore[no-untyped-call]
        ascent = -share * (local.detach() - self.net.margin)  # the optimiser goes down, and α up
        grown = self.net.multiplier.grad
        self.net.multiplier.grad = ascent if grown is None else grown + ascent
        return {"edit loss": float(edit.detach()), "locality loss": float(local.detach()), "multiplier": float(alpha)}

    def patches(self, episode: Episode) -> Patches:
        """The patch of each edit."""
        found, _ = factors(self.session.anatomy, episode.edits, self.sites)
        h = self.net.read(embedded(self.session, episode.requests))
        return {site: self.net.shaped(site, h, found[site].u, found[site].delta) for site in self.sites}

    def _smoothed(self, episode: Episode, patches: Patches) -> Tensor:
        run = cached_logits(self.session.anatomy, episode.outer, self.sites, range(len(episode.outer)))
        with edited(self.session.anatomy, patches, episode.outer_of):
            found = run()
        return cross_entropy(found.logits.float(), found.labels, label_smoothing=self.hparams.smoothing)

    def _divergence(self, episode: Episode, patches: Patches) -> Tensor:
        if not episode.local:
            return torch.zeros(())
        under = edited(self.session.anatomy, patches, episode.local_of)
        return locality_loss(self.session.anatomy, episode.local, self.sites, under).loss.mean()

    @torch.no_grad()
    def measure(self, cases: Sequence[Case]) -> Mapping[str, float]:
        found = measured(self.session.anatomy, self.reader, cases, self.sites, self.patches)
        loss = found["edit loss"] + found["locality loss"]
        return {"loss": loss, **{name: found[name] for name in ("edit", "rephrase", "local")}}

    @torch.no_grad()
    def stepped(self, measured: Mapping[str, float] | None) -> None:
        """α stays above zero; the margin shrinks where edits succeed."""
        self.net.multiplier.clamp_(min=0)
        if measured is not None and measured["edit"] > FLIPPED:
            self.net.margin.mul_(self.hparams.shrink).clamp_(min=self.hparams.least_margin)


def made(session: "Session", sites: Sequence[Site], settings: Mapping[str, Any], seed: int = 0) -> Hypernetwork:
    """A new hypernetwork by settings, on the device of the session."""
    shapes = shapes_of(session, sites)
    s = settings
    width = session.model.get_input_embeddings().weight.shape[1]
    net = Hypernetwork(shapes, width, s["hidden"], s["condition"], s["head"], s["scale"], s["margin"], seed)
    return net.to(session.device)
