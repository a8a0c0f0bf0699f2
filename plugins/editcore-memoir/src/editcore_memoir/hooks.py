"""The entry module: light, no torch; the training is imported by the stage that runs it."""

from collections.abc import Sequence
from typing import ClassVar

from editcore_hooks import EditMethod, EditRequest, Location, PatchKind, Session, Site, State, Update, hookimpl
from editcore_memoir.hparams import MemoirHparams
from editcore_memoir.kind import ResidualKind

EDITCORE_API = ">=1.0,<2"
DEPTH = 27 / 31
"""Relative depth without a setting: the published layer is 27 of 32."""


class Memoir(EditMethod):
    """A residual memory beside one down projection, whose columns are chosen by the prompt."""

    name = "memoir"
    summary = "a residual memory beside one MLP matrix; each prompt has its own columns"
    paper = "Wang et al. 2025, arXiv:2506.07899"
    Hparams: ClassVar[type] = MemoirHparams
    capabilities = frozenset({"batch", "encoder-decoder"})
    one_site = True

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        layer = self.hparams.layer
        if layer is None:
            layer = round(DEPTH * (session.anatomy.n_layers - 1))
        site = Site("mlp_out", layer, "encoder" if session.encoder_decoder else "decoder")
        return Location((site,), token="last")

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_memoir.method import compute

        return compute(session, requests, location, self.hparams)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Memoir]


@hookimpl
def editcore_register_patch_kinds() -> list[type[PatchKind]]:
    return [ResidualKind]
