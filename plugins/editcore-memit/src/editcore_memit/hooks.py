"""The entry module: light, no torch; the maths is imported by the stage that runs it."""

from collections.abc import Mapping, Sequence
from typing import Any

from editcore_hooks import EditMethod, EditRequest, Location, Site, State, Update, hookimpl
from editcore_keyvalue.hparams import layers_by_depth
from editcore_memit.hparams import MemitHparams
from editcore_memit.presets import find_preset

EDITCORE_API = ">=1.0,<2"


class Memit(EditMethod):
    """Mass-editing memory in a transformer."""

    name = "memit"
    summary = "thousands of facts at once, spread over several MLP down projections"
    paper = "Meng et al. 2023, arXiv:2210.07229"
    Hparams = MemitHparams
    capabilities = frozenset({"batch", "sequential"})

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        return find_preset(model)

    @classmethod
    def make_ready(cls, session: Any, hparams: Sequence[Any]) -> None:
        from editcore_memit.method import collect_moments

        collect_moments(session, hparams)

    @hookimpl
    def editcore_locate(self, session: Any, requests: Sequence[EditRequest], state: State) -> Location:
        layers = self.hparams.layers or layers_by_depth(session.anatomy.n_layers)
        return Location(tuple(Site("mlp_out", layer) for layer in layers))

    @hookimpl
    def editcore_compute_update(
        self, session: Any, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_memit.method import compute

        return compute(session, requests, location, state, self.hparams)

    def fold(self, increments: Sequence[Mapping[str, Any]]) -> Any:
        from editcore_keyvalue.history import fold

        return fold(increments)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Memit]
