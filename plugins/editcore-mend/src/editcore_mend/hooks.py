"""The entry module: light, no torch; training and edits are imported by the stage that runs them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from editcore_hooks import Asset, Case, EditMethod, EditRequest, Location, Session, State, Update, hookimpl
from editcore_mend.hparams import MendHparams

EDITCORE_API = ">=1.0,<2"


class Mend(EditMethod):
    """Nets that were trained on edits of this model turn the gradient of a request into a patch."""

    name = "mend"
    summary = "trained nets turn the gradient of a fact into an edit"
    paper = "Mitchell et al. 2022, arXiv:2110.11309"
    Hparams: ClassVar[type] = MendHparams
    capabilities = frozenset({"batch", "encoder-decoder"})

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        from editcore_mend.presets import find_preset

        return find_preset(model, cls.name)

    @classmethod
    def place_at(cls, location: Location) -> Mapping[str, Any]:
        return {}  # where it edits was decided when it was trained

    @hookimpl
    def editcore_train(self, session: Session, examples: Sequence[Case], options: dict[str, Any]) -> Asset:
        from editcore_mend.method import train

        return train(session, examples, self.hparams, options)

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        from editcore_mend.method import editor

        return Location(editor(session, self.hparams).sites, token="last")

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_mend.method import compute_update

        return compute_update(session, requests, location, self.hparams)

    def compute_each(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Sequence[Update]:
        from editcore_mend.method import compute_each

        return compute_each(session, requests, location, self.hparams)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Mend]
