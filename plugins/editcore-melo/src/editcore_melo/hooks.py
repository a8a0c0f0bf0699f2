"""The entry module: light, no torch; the training is imported by the stage that runs it."""

from collections.abc import Sequence
from typing import ClassVar

from editcore_hooks import EditMethod, EditRequest, Location, PatchKind, Session, Site, State, Update, hookimpl
from editcore_melo.hparams import MeloHparams
from editcore_melo.kind import RoutedKind

EDITCORE_API = ">=1.0,<2"
DEPTH = 3 / 4
"""Relative depth without a setting: the published layer is 35 of 48."""
ENCODER_DEPTH = 1 / 2
"""The same in an encoder: published layers are 4 of 8 and 12 of 24."""


class Melo(EditMethod):
    """Low-rank blocks beside matrices of later blocks; the prompt is routed to one of them, or none."""

    name = "melo"
    summary = "low-rank blocks to which a vector database routes prompts"
    paper = "Yu et al. 2024, arXiv:2312.11795"
    Hparams: ClassVar[type] = MeloHparams
    capabilities = frozenset({"batch", "encoder-decoder"})
    one_site = True

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        layer, last = self.hparams.layer, session.anatomy.n_layers - 1
        if layer is None:
            layer = min(round((ENCODER_DEPTH if session.encoder_decoder else DEPTH) * last), max(0, last - 1))
        site = Site("block", layer, "encoder" if session.encoder_decoder else "decoder")
        return Location((site,), token="last")

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_melo.method import compute

        return compute(session, requests, location, self.hparams)

    def compute_each(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> list[Update]:
        from editcore_melo.method import compute_each

        return compute_each(session, requests, location, self.hparams)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Melo]


@hookimpl
def editcore_register_patch_kinds() -> list[type[PatchKind]]:
    return [RoutedKind]
