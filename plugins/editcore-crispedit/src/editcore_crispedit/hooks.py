"""The entry module: light, no torch; the maths is imported by the stage that runs it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from editcore_crispedit.hparams import CrispEditHparams, layers_by_depth
from editcore_crispedit.space import space
from editcore_hooks import EditMethod, EditRequest, Location, Session, Site, State, Tunable, Update, hookimpl

EDITCORE_API = ">=1.0,<2"


class CrispEdit(EditMethod):
    """Fine-tuning along flat directions. The state are keys and output gradients of earlier edits, see `own`."""

    name = "crispedit"
    summary = "fine-tuning in directions along which the loss on ordinary text is flat"
    paper = "arXiv:2602.15823"
    Hparams: ClassVar[type] = CrispEditHparams
    capabilities = frozenset({"batch", "sequential"})

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        from editcore.authoring.settings import matching_preset

        return dict(matching_preset("editcore_crispedit.presets", model).get("hparams", {}))

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable | None:
        return None if model.get("encoder_decoder") else space(model)

    @classmethod
    def make_ready(cls, session: Session, hparams: Sequence[Any]) -> None:
        from editcore_crispedit.curvature import collect

        collect(session, hparams)

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        chosen = self.hparams.layers or layers_by_depth(session.anatomy.n_layers)
        return Location(tuple(Site("mlp_out", layer) for layer in chosen), token="last")

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_crispedit.method import compute

        return compute(session, requests, location, state, self.hparams)

    def fold(self, increments: Sequence[Mapping[str, Any]]) -> Any:
        from editcore_crispedit.own import folded

        return folded(increments)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [CrispEdit]
