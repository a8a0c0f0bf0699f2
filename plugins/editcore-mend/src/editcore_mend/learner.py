"""How MEND's nets learn: L = c_e L_e + c_loc L_loc, over edits that run side by side in one batch.

The gradient flows through the edited model into the patch and so into the nets; u and δ are constants. Mitchell et al.
2022 (arXiv:2110.11309), section 3.3.
"""

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import torch
from attrs import define, field
from torch import Tensor, nn

from editcore.authoring.training import Better
from editcore_hooks import Case, Site
from editcore_mend.episode import Episode, Reader
from editcore_mend.factors import Factors, by_site, factors
from editcore_mend.hparams import MendHparams
from editcore_mend.losses import Patches, edit_loss, edited, locality_loss
from editcore_mend.measuring import measured
from editcore_mend.nets import Editors, settings_of
from editcore_mend.sites import shapes_of

if TYPE_CHECKING:
    from editcore_hooks import Session

STATISTICS: Final = 512
"""Most requests that the statistics of the inputs are taken from."""
CHUNK: Final = 32


@define(eq=False)
class MendLearner:
    """The nets of MEND for `sites` of the session's model."""

    session: "Session"
    hparams: MendHparams
    sites: tuple[Site, ...]
    owner: str = "editcore-mend"
    method: str = "mend"
    editors: Editors = field(init=False)
    reader: Reader = field(init=False)

    def __attrs_post_init__(self) -> None:
        shapes = shapes_of(self.session, self.sites)
        h = self.hparams
        self.editors = Editors(shapes, h.rank, h.blocks, h.edit_lr, self.session.seed).to(self.session.device)
        self.reader = Reader(self.session)

    @property
    def figures(self) -> Mapping[str, Better]:
        return {"loss": "lower", "edit": "higher", "rephrase": "higher", "local": "higher"}

    def module(self) -> nn.Module:
        return self.editors

    def settings(self) -> Mapping[str, Any]:
        h = attrs.asdict(self.hparams)
        return settings_of(self.sites, **{k: v for k, v in h.items() if k not in ("layers", "roles", "editor")})

    def prepare(self, cases: Sequence[Case]) -> None:
        items = [self.reader.texts(case).edit for case in cases[:STATISTICS]]
        samples = []
        for start in range(0, len(items), CHUNK):
            some = items[start : start + CHUNK]
            found, _ = factors(self.session.anatomy, some, self.sites)
            samples += [by_site(self.sites, found, row) for row in range(len(some))]
        self.editors.collect(samples)

    def optimizer(self) -> torch.optim.Optimizer:
        h = self.hparams
        nets = {"params": list(self.editors.nets.parameters()), "lr": h.lr}
        return torch.optim.Adam([nets, {"params": [self.editors.step], "lr": h.step_lr}])

    def add_gradients(self, cases: Sequence[Case], share: float, rng: random.Random) -> Mapping[str, float]:
        together = rng.choice(self.hparams.together)
        episode = self.reader.episode(cases, rng, self.hparams.local)
        patches = self.patches(episode, together)
        edit, local = self._losses(episode, patches, together)
        (share * (self.hparams.c_edit * edit + self.hparams.c_loc * local)).backward()  # type: ignore[no-untyped-call]
        return {"edit loss": float(edit.detach()), "locality loss": float(local.detach())}

    def _losses(self, episode: Episode, patches: Patches, together: int) -> tuple[Tensor, Tensor]:
        anatomy = self.session.anatomy
        owners = [e // together for e in episode.outer_of]
        edit = edit_loss(anatomy, episode.outer, self.sites, edited(anatomy, patches, owners)).loss.mean()
        if not episode.local:
            return edit, torch.zeros_like(edit)
        owners = [e // together for e in episode.local_of]
        return edit, locality_loss(anatomy, episode.local, self.sites, edited(anatomy, patches, owners)).loss.mean()

    def patches(self, episode: Episode, together: int = 1) -> Patches:
        """The patches of the edits, `together` of them in each; the last has what is left."""
        found, _ = factors(self.session.anatomy, episode.edits, self.sites)
        return {site: self._patch(site, found[site], together) for site in self.sites}

    def _patch(self, site: Site, one: Factors, together: int) -> tuple[Tensor, Tensor]:
        out, in_ = self.editors(site, one.u, one.delta, one.kept)  # (E, T, d_out), (E, T, d_in)
        missing = -len(out) % together
        if missing:
            out, in_ = (torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) for x in (out, in_))
        joined = [x.reshape(-1, together * x.shape[1], x.shape[2]) for x in (out, in_)]
        return joined[0].mT, joined[1]

    @torch.no_grad()
    def measure(self, cases: Sequence[Case]) -> Mapping[str, float]:
        found = measured(self.session.anatomy, self.reader, cases, self.sites, self.patches)
        loss = self.hparams.c_edit * found["edit loss"] + self.hparams.c_loc * found["locality loss"]
        return {"loss": loss, **{name: found[name] for name in ("edit", "rephrase", "local")}}

    def stepped(self, measured: Mapping[str, float] | None) -> None:
        """Nothing has to follow a step."""
