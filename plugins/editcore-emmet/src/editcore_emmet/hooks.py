"""The entry module: light, no torch; the maths is imported by the stage that runs it."""

from collections.abc import Sequence

from editcore_emmet.hparams import EmmetHparams
from editcore_emmet.space import space
from editcore_hooks import EditMethod, EditRequest, Location, Session, State, Update, hookimpl
from editcore_keyvalue.spread_method import SpreadMethod

EDITCORE_API = ">=1.0,<2"


class Emmet(SpreadMethod):
    """Equality-constrained mass model editing."""

    name = "emmet"
    summary = "many facts at once as constraints, exact or with slack"
    paper = "Gupta et al. 2024, arXiv:2403.14236"
    Hparams = EmmetHparams
    presets = "editcore_emmet.presets"
    space = staticmethod(space)
    most_layers = 1

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_emmet.method import compute

        return compute(session, requests, location, state, self.hparams)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Emmet]
