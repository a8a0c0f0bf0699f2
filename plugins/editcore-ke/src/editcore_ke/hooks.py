"""The entry module: light, no torch; training and edits are imported by the stage that runs them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from editcore_hooks import Asset, Case, EditMethod, EditRequest, Location, Session, State, Update, hookimpl
from editcore_ke.hparams import KeHparams

EDITCORE_API = ">=1.0,<2"


class Ke(EditMethod):
    """A trained hypernetwork reads the request and shapes its gradient; one fact an edit."""

    name = "ke"
    summary = "a trained hypernetwork shapes the gradient of a fact"
    paper = "De Cao et al. 2021, arXiv:2104.08164"
    Hparams: ClassVar[type] = KeHparams

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        from editcore_ke.presets import find_preset

        return find_preset(model, cls.name)

    @classmethod
    def place_at(cls, location: Location) -> Mapping[str, Any]:
        return {}  # where it edits was decided when it was trained

    @hookimpl
    def editcore_train(self, session: Session, examples: Sequence[Case], options: dict[str, Any]) -> Asset:
        from editcore_ke.method import train

        return train(session, examples, self.hparams, options)

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        from editcore_ke.method import editor

        return Location(editor(session, self.hparams).sites, token="last")

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_ke.method import compute_each

        (update,) = compute_each(session, requests, location, self.hparams)
        return update

    def compute_each(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Sequence[Update]:
        from editcore_ke.method import compute_each

        return compute_each(session, requests, location, self.hparams)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Ke]
