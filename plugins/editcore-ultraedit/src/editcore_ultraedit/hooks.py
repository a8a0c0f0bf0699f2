"""The entry module: light, no torch; the maths is imported by the stage that runs it."""

from collections.abc import Mapping, Sequence
from typing import Any

from editcore_hooks import EditMethod, EditRequest, Location, Session, Site, State, Tunable, Update, hookimpl
from editcore_ultraedit.hparams import UltraEditHparams, layers_by_depth
from editcore_ultraedit.space import space

EDITCORE_API = ">=1.0,<2"


class UltraEdit(EditMethod):
    """Training-, subject- and memory-free lifelong editing."""

    name = "ultraedit"
    summary = "lifelong edits in closed form, from one forward and one backward pass"
    paper = "Gu et al. 2025, arXiv:2505.14679"
    Hparams = UltraEditHparams
    capabilities = frozenset({"batch", "sequential"})

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        from editcore.authoring.settings import matching_preset

        return dict(matching_preset("editcore_ultraedit.presets", model).get("hparams", {}))

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable | None:
        return None if model.get("encoder_decoder") else space(model)

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        layers = self.hparams.layers or layers_by_depth(session.anatomy.n_layers)
        return Location(tuple(Site(part, layer) for layer in layers for part in self.hparams.parts), token="last")

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_ultraedit.method import compute

        return compute(session, requests, location, state, self.hparams)

    def fold(self, increments: Sequence[Mapping[str, Any]]) -> Any:
        from editcore_ultraedit.normaliser import all_moments

        return all_moments(increments)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [UltraEdit]
