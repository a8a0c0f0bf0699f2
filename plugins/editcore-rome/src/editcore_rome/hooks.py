"""The entry module: light, no torch; the maths is imported by the stage that runs it."""

from collections.abc import Mapping, Sequence
from typing import Any

from editcore_hooks import EditMethod, EditRequest, Location, Session, Site, State, Tunable, Update, hookimpl
from editcore_keyvalue.decoder_only import require_decoder
from editcore_rome.hparams import RomeHparams
from editcore_rome.presets import default_layer, find_preset
from editcore_rome.space import space

EDITCORE_API = ">=1.0,<2"


class Rome(EditMethod):
    """Rank-one model editing: the prompt's key and the mean key over contexts both get the value."""

    name = "rome"
    summary = "rank-one edit of one MLP down projection"
    paper = "Meng et al. 2022, arXiv:2202.05262; Gupta et al. 2024, arXiv:2403.07175"
    Hparams = RomeHparams
    one_site = True

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        return find_preset(model)

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable | None:
        return None if model.get("encoder_decoder") else space(model)

    @classmethod
    def make_ready(cls, session: Session, hparams: Sequence[Any]) -> None:
        require_decoder(session, cls.name)
        from editcore_rome.method import collect_moments

        collect_moments(session, hparams)

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        require_decoder(session, self.name)
        layer = self.hparams.layer
        return Location((Site("mlp_out", default_layer(session.traits()) if layer is None else layer),))

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        (update,) = self.compute_each(session, requests, location, state)  # no `batch`: one request at a time
        return update

    def compute_each(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Sequence[Update]:
        from editcore_rome.method import compute_each

        return compute_each(session, requests, location, self.hparams)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Rome]
