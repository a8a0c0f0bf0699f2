"""The entry module: light, no torch; the training is imported by the stage that runs it."""

from collections.abc import Mapping, Sequence
from typing import Any

from editcore_hooks import EditMethod, EditRequest, Location, Session, Site, State, Tunable, Update, hookimpl
from editcore_hooks.values import Tensor
from editcore_tpatcher.hparams import TPatcherHparams
from editcore_tpatcher.space import default_layer, space

EDITCORE_API = ">=1.0,<2"


class TPatcher(EditMethod):
    """One neuron for each mistaken token, in the MLP of one block."""

    name = "t-patcher"
    summary = "a neuron for each mistaken token, appended to an MLP"
    paper = "Huang et al. 2023, arXiv:2301.09785"
    Hparams = TPatcherHparams
    capabilities = frozenset({"sequential", "encoder-decoder"})
    one_site = True

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable:
        return space(model)

    @classmethod
    def make_ready(cls, session: Session, hparams: Sequence[Any]) -> None:
        from editcore_tpatcher.method import collect_memories

        collect_memories(session, hparams)

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        layer = self.hparams.layer
        return Location(
            (Site("mlp_out", default_layer(session.anatomy.n_layers) if layer is None else layer),), token="last"
        )

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_tpatcher.method import compute_update

        (request,) = requests  # no `batch`: one request at a time
        return compute_update(session, request, location, state, self.hparams)

    def fold(self, increments: Sequence[Mapping[str, Tensor]]) -> Any:
        """The states of earlier edits, by layer: later neurons must not fire on them."""
        from editcore_tpatcher.memory import folded

        return folded(increments)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [TPatcher]
