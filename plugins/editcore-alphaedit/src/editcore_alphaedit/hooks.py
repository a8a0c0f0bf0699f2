"""The entry module: light, no torch; the maths is imported by the stage that runs it."""

from collections.abc import Sequence

from editcore_alphaedit.hparams import AlphaEditHparams
from editcore_alphaedit.space import space
from editcore_hooks import EditMethod, EditRequest, Location, Session, State, Update, hookimpl
from editcore_keyvalue.spread_method import SpreadMethod

EDITCORE_API = ">=1.0,<2"


class AlphaEdit(SpreadMethod):
    """Null-space constrained editing."""

    name = "alphaedit"
    summary = "sequential edits in directions that ordinary keys do not use"
    paper = "Fang et al. 2025, arXiv:2410.02355"
    Hparams = AlphaEditHparams
    presets = "editcore_alphaedit.presets"
    space = staticmethod(space)

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_alphaedit.method import compute

        return compute(session, requests, location, state, self.hparams)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [AlphaEdit]
