"""ICE: W ← W₀ + Δ, with Δ found by Adam on L_FT + λ L_ICE of all requests together, by the loop of editcore-ft."""

from collections.abc import Sequence
from math import log
from typing import TYPE_CHECKING, Final

from torch import Tensor

from editcore_ft.objective import nll
from editcore_ft.training import Training, require, trained_update
from editcore_ft.weights import Copies
from editcore_hooks import EditRequest, Location, Update
from editcore_ice.examples import IceExample, ice_examples
from editcore_ice.hparams import IceHparams
from editcore_ice.objective import Ice
from editcore_ice.record import notes_of
from editcore_ice.teacher import Teacher

if TYPE_CHECKING:
    from editcore_hooks import Session

UNLIKELY: Final = log(2)
"""Nats a token at which the target is as likely as everything else together. All steps are taken whatever the loss, so
there is no loss to stop at that would tell."""


def compute_update(
    session: "Session", requests: Sequence[EditRequest], location: Location, hparams: IceHparams
) -> Update:
    """One delta a site for all `requests`."""
    require(requests, location)
    examples = ice_examples(session, requests, hparams)
    copies = Copies(session, location.sites, anchored_at_base=hparams.anchor == "base")
    teacher = Teacher(session.anatomy, copies, hparams)
    ice = Ice(copies, teacher, hparams, session.encoder_decoder)

    def judged(batch: Sequence[IceExample]) -> Tensor:
        return nll(copies.logits, [example.fact for example in batch])

    training = Training(examples, ice, judged, UNLIKELY, "in-context editing", hparams.grad_clip)
    return trained_update(session, requests, copies, hparams, training, lambda: notes_of(session, examples, ice))
