"""The entry module: light, no torch; the training is imported by the stage that runs it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from editcore_ft.place import located
from editcore_hooks import EditMethod, EditRequest, Location, Session, State, Tunable, Update, hookimpl
from editcore_ice.hparams import IceHparams
from editcore_ice.presets import default_layers, find_preset
from editcore_ice.space import space

EDITCORE_API = ">=1.0,<2"


class Ice(EditMethod):
    """Learn to answer the question as the model does when it reads the fact before it."""

    name = "ice"
    summary = "in-context editing: the answer without a context as with one"
    paper = "Qi et al. 2025, arXiv:2406.11194"
    Hparams: ClassVar[type] = IceHparams
    capabilities = frozenset({"batch", "encoder-decoder"})

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        return find_preset(model)

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable:
        return space(model)

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        return located(session, self.hparams, default_layers(session.traits()))

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_ice.method import compute_update

        return compute_update(session, requests, location, self.hparams)

    def compute_each(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Sequence[Update] | None:
        from editcore_ice.method import compute_each

        return compute_each(session, requests, location, self.hparams)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Ice]
