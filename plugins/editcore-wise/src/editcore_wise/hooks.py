"""The entry module: light, no torch; the training is imported by the stage that runs it."""

from collections.abc import Mapping, Sequence
from typing import Any

from editcore_hooks import (
    EditMethod,
    EditRequest,
    Location,
    PatchKind,
    Session,
    Site,
    State,
    Tunable,
    Update,
    UsageError,
    hookimpl,
)
from editcore_hooks.values import Tensor
from editcore_wise.hparams import WiseHparams
from editcore_wise.kind import SideKind
from editcore_wise.presets import find_preset
from editcore_wise.space import default_layer, space

EDITCORE_API = ">=1.0,<2"


class Wise(EditMethod):
    """Edits in a side copy of one MLP matrix; a router decides by prompt whether it answers."""

    name = "wise"
    summary = "a side copy of one MLP matrix, and a router that decides by prompt"
    paper = "Wang et al. 2024, arXiv:2405.14768"
    Hparams = WiseHparams
    capabilities = frozenset({"batch", "sequential"})
    one_site = True

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        return find_preset(model)

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable | None:
        return None if model.get("encoder_decoder") else space(model)

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        if session.encoder_decoder:
            raise UsageError(
                "wise routes by what one layer writes for the whole prompt, and beside an encoder that layer reads the "
                "answer alone",
                hint="choose a model that is a decoder alone, or another method such as grace",
            )
        layer = self.hparams.layer
        layer = default_layer(session.anatomy.n_layers) if layer is None else layer
        return Location((Site("mlp_out", layer),), token="last")

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_wise.method import compute_update

        return compute_update(session, requests, location, state, self.hparams)

    def fold(self, increments: Sequence[Mapping[str, Tensor]]) -> Any:
        """The prompts of earlier edits as token ids. Their shards are in the patches, which the state names."""
        from editcore_wise.earlier import folded

        return folded(increments)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Wise]


@hookimpl
def editcore_register_patch_kinds() -> list[type[PatchKind]]:
    return [SideKind]
