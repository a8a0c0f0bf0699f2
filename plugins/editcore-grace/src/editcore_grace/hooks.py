"""The entry module: light, no torch; the training is imported by the stage that runs it."""

from collections.abc import Sequence
from typing import ClassVar

from editcore_grace.gated.hparams import DeferHparams, MemoryNetworkHparams
from editcore_grace.gated.kind import GatedKind
from editcore_grace.hparams import GraceHparams
from editcore_grace.kind import CodebookKind
from editcore_hooks import EditMethod, EditRequest, Location, PatchKind, Session, Site, State, Update, hookimpl

EDITCORE_API = ">=1.0,<2"
DEPTH = 3 / 4
"""Relative depth without a setting: published layers are 35 of 48, 25 of 28 and 27 of 32."""


class BesideOneLayer(EditMethod):
    """What all methods of this package share: the layer."""

    paper = "Hartvigsen et al. 2023, arXiv:2211.11031"
    capabilities = frozenset({"batch", "encoder-decoder"})
    one_site = True

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        layer = self.hparams.layer
        if layer is None:
            layer = round(DEPTH * (session.anatomy.n_layers - 1))
        site = Site(self.hparams.role, layer, "encoder" if session.encoder_decoder else "decoder")
        return Location((site,), token="last")


class Grace(BesideOneLayer):
    """An entry for each edit in a codebook beside one layer; it answers prompts whose state is near its key."""

    name = "grace"
    summary = "a codebook beside one layer; each edit can be taken back exactly"
    Hparams: ClassVar[type] = GraceHparams

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_grace.method import compute_each, update_of

        return update_of(session, compute_each(session, requests, location, self.hparams), location, self.hparams)

    def compute_each(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> list[Update]:
        from editcore_grace.method import compute_each, update_of

        entries = compute_each(session, requests, location, self.hparams)
        return [update_of(session, [entry], location, self.hparams) for entry in entries]


class Defer(BesideOneLayer):
    """A gate for all edits of a call; where it opens, a small linear map gives the layer's output."""

    name = "defer"
    summary = "a gate beside one layer, and a small linear map where it opens"
    Hparams: ClassVar[type] = DeferHparams

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_grace.gated.method import compute_update

        return compute_update(session, requests, location, self.hparams)


class MemoryNetwork(Defer):
    """Learned keys that all edits of a call share; where one is near, attention over their values gives the output."""

    name = "memory-network"
    summary = "a memory network beside one layer, with a gate on its keys"
    Hparams: ClassVar[type] = MemoryNetworkHparams


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Grace, Defer, MemoryNetwork]


@hookimpl
def editcore_register_patch_kinds() -> list[type[PatchKind]]:
    return [CodebookKind, GatedKind]
