"""The entry module: light, no torch; the training is imported by the stage that runs it."""

from collections.abc import Sequence
from typing import ClassVar

from editcore_grace.hparams import GraceHparams
from editcore_grace.kind import CodebookKind
from editcore_hooks import EditMethod, EditRequest, Location, PatchKind, Session, Site, State, Update, hookimpl

EDITCORE_API = ">=1.0,<2"
DEPTH = 3 / 4
"""Relative depth without a setting: published layers are 35 of 48, 25 of 28 and 27 of 32."""


class Grace(EditMethod):
    """An entry for each edit in a codebook beside one layer; it answers prompts whose state is near its key."""

    name = "grace"
    summary = "a codebook beside one layer; each edit can be taken back exactly"
    paper = "Hartvigsen et al. 2023, arXiv:2211.11031"
    Hparams: ClassVar[type] = GraceHparams
    capabilities = frozenset({"batch"})

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        layer = self.hparams.layer
        if layer is None:
            layer = round(DEPTH * (session.anatomy.n_layers - 1))
        site = Site(self.hparams.role, layer, "encoder" if session.encoder_decoder else "decoder")
        return Location((site,), token="last")

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


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Grace]


@hookimpl
def editcore_register_patch_kinds() -> list[type[PatchKind]]:
    return [CodebookKind]
