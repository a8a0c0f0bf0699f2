"""The entry module: light, no torch; the training is imported by the stage that runs it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from editcore_calinet.hparams import CalinetHparams
from editcore_calinet.presets import default_layers, find_preset
from editcore_calinet.space import space
from editcore_hooks import EditMethod, EditRequest, Location, Metric, Session, Site, State, Tunable, Update, hookimpl

EDITCORE_API = ">=1.0,<2"


class Calinet(EditMethod):
    """Slots that all requests of a call share, beside the MLP of one or several blocks."""

    name = "calinet"
    summary = "a small FFN of shared slots beside an MLP, trained on all facts of a call"
    paper = "Dong et al. 2022, arXiv:2210.03329"
    Hparams: ClassVar[type] = CalinetHparams
    capabilities = frozenset({"batch", "encoder-decoder"})

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        return find_preset(model)

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable:
        return space(model)

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        layers = self.hparams.layers
        chosen = default_layers(session.traits()) if layers is None else layers
        return Location(tuple(Site("mlp_out", layer) for layer in chosen), token="last")

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_calinet.method import compute_update

        return compute_update(session, requests, location, self.hparams)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Calinet]


@hookimpl
def editcore_register_metrics() -> list[type[Metric]]:
    from editcore_calinet.knowledge import Known

    return [Known]
