"""The entry module: light, no torch; the maths is imported by the stage that runs it."""

from collections.abc import Sequence

from editcore_hooks import EditMethod, EditRequest, Location, Session, State, Update, hookimpl
from editcore_keyvalue.spread_method import SpreadMethod
from editcore_pmet.hparams import PmetHparams
from editcore_pmet.space import space

EDITCORE_API = ">=1.0,<2"


class Pmet(SpreadMethod):
    """Precise model editing."""

    name = "pmet"
    summary = "values apart for attention and MLP; only the MLP's are written"
    paper = "Li et al. 2024, arXiv:2308.08742"
    Hparams = PmetHparams
    presets = "editcore_pmet.presets"
    space = staticmethod(space)

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_pmet.method import compute

        return compute(session, requests, location, state, self.hparams)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Pmet]
