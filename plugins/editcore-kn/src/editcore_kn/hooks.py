"""The entry module: light, no torch; the maths is imported by the stage that runs it."""

from collections.abc import Mapping, Sequence
from typing import Any

from editcore_hooks import EditMethod, EditRequest, Location, Session, Site, State, Update, hookimpl
from editcore_kn.hparams import KnHparams

EDITCORE_API = ">=1.0,<2"


class Kn(EditMethod):
    """Knowledge neurons: a handful of MLP units, found by integrated gradients over all layers."""

    name = "kn"
    summary = "rewrites the value vectors of the few MLP units that express a fact"
    paper = "Dai et al. 2022, arXiv:2104.08696"
    Hparams = KnHparams

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        from editcore.authoring.settings import matching_preset

        return dict(matching_preset("editcore_kn.presets", model).get("hparams", {}))

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        return Location(tuple(Site("mlp_out", layer) for layer in range(session.anatomy.n_layers)), token="last")

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_kn.method import compute

        (request,) = requests  # no `batch`: one request at a time
        return compute(session, request, location, self.hparams)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Kn]
