"""ICE: W ← W₀ + Δ, with Δ found by Adam on L_FT + λ L_ICE of all requests together, by the loop of editcore-ft."""

from collections.abc import Sequence
from math import log
from typing import TYPE_CHECKING, Final

from editcore_ft.branched import fits
from editcore_ft.objective import nll
from editcore_ft.training import Task, Training, require, trained_update, trained_updates
from editcore_ft.weights import Trainable
from editcore_hooks import EditRequest, Location, Update
from editcore_ice.examples import ice_examples
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
    return trained_update(session, requests, location, hparams, _training(session, requests, location, hparams))


def compute_each(
    session: "Session", requests: Sequence[EditRequest], location: Location, hparams: IceHparams
) -> list[Update] | None:
    """The update of each request alone; None where they cannot be trained at once."""
    require(requests, location)
    if not fits(session, hparams):
        return None
    return trained_updates(session, requests, location, hparams, _training(session, requests, location, hparams))


def _training(session: "Session", requests: Sequence[EditRequest], location: Location, hparams: IceHparams) -> Training:
    examples = ice_examples(session, requests, hparams)

    def task(weights: Trainable) -> Task:
        teacher = Teacher(session.anatomy, weights, location.sites, hparams)
        ice = Ice(weights, teacher, hparams, session.encoder_decoder)
        return Task(
            ice,
            lambda batch: nll(weights.logits, [example.fact for example in batch]),
            UNLIKELY,
            lambda some: notes_of(session, some, ice),
        )

    return Training(examples, task, "in-context editing", hparams.grad_clip)
