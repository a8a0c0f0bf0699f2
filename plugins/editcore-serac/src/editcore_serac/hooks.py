"""The entry module: light, no torch; training and edits are imported by the stage that runs them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from editcore_hooks import (
    Asset,
    Case,
    EditMethod,
    EditRequest,
    Location,
    PatchKind,
    Session,
    State,
    Update,
    hookimpl,
)
from editcore_serac.hparams import SeracHparams
from editcore_serac.kind import ScopedKind

EDITCORE_API = ">=1.0,<2"


class Serac(EditMethod):
    """Edits in a memory: a trained scope decides by prompt whether a counterfactual model answers with one of them."""

    name = "serac"
    summary = "a memory of edits, a trained scope and a counterfactual model"
    paper = "Mitchell et al. 2022, arXiv:2206.06520"
    Hparams: ClassVar[type] = SeracHparams
    capabilities = frozenset({"batch"})

    @classmethod
    def place_at(cls, location: Location) -> Mapping[str, Any]:
        return {}  # where it reads was decided when it was trained

    @hookimpl
    def editcore_train(self, session: Session, examples: Sequence[Case], options: dict[str, Any]) -> Asset:
        from editcore_serac.method import train

        return train(session, examples, self.hparams, options)

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        return Location(())

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_serac.method import compute_update

        return compute_update(session, requests, self.hparams)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Serac]


@hookimpl
def editcore_register_patch_kinds() -> list[type[PatchKind]]:
    return [ScopedKind]
