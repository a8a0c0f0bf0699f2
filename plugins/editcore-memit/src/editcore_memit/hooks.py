"""The entry module: light, no torch; the maths is imported by the stage that runs it."""

from collections.abc import Sequence

from editcore_hooks import EditMethod, EditRequest, Location, Session, State, Update, hookimpl
from editcore_keyvalue.spread_method import SpreadMethod
from editcore_memit.hparams import MemitHparams
from editcore_memit.space import space

EDITCORE_API = ">=1.0,<2"


class Memit(SpreadMethod):
    """Mass-editing memory in a transformer."""

    name = "memit"
    summary = "thousands of facts at once, spread over several MLP down projections"
    paper = "Meng et al. 2023, arXiv:2210.07229"
    Hparams = MemitHparams
    presets = "editcore_memit.presets"
    space = staticmethod(space)

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_memit.method import compute

        return compute(session, requests, location, state, self.hparams)


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Memit]
