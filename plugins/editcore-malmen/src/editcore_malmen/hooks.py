"""The entry module: light, no torch; training and edits are imported by the stage that runs them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from editcore_hooks import Asset, Case, EditMethod, EditRequest, Location, Session, State, Update, hookimpl
from editcore_malmen.hparams import MalmenHparams, RlEditHparams

EDITCORE_API = ">=1.0,<2"


class Malmen(EditMethod):
    """Residuals from trained nets, joined by a ridge solve, so that many facts fit into one edit."""

    name = "malmen"
    summary = "trained nets and a ridge solve: many facts in one edit"
    paper = "Tan et al. 2024, arXiv:2311.04661"
    Hparams: ClassVar[type] = MalmenHparams
    capabilities = frozenset({"batch"})

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        from editcore_malmen.presets import find_preset

        return find_preset(model, cls.name)

    @classmethod
    def place_at(cls, location: Location) -> Mapping[str, Any]:
        return {}  # where it edits was decided when it was trained

    @hookimpl
    def editcore_train(self, session: Session, examples: Sequence[Case], options: dict[str, Any]) -> Asset:
        from editcore_malmen.method import train

        return train(session, self.name, examples, self.hparams, options)

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        from editcore_malmen.method import editor

        return Location(editor(session, self.name, self.hparams).sites, token="last")

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_malmen.method import compute_update

        return compute_update(session, self.name, requests, location, self.hparams)

    def compute_each(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Sequence[Update]:
        from editcore_malmen.method import compute_each

        return compute_each(session, self.name, requests, location, self.hparams)


class RlEdit(Malmen):
    """The same, trained on edits in sequence."""

    name = "rledit"
    summary = "MALMEN's nets, trained on edits that follow each other"
    paper = "Li et al. 2025, arXiv:2502.05759"
    Hparams = RlEditHparams


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Malmen, RlEdit]
