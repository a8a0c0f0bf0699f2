"""FT, FT-L, FT-M, FT-T, LocFT: W ← W₀ + Δ, with Δ found by Adam on the loss of all requests together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from editcore_ft.branched import fits
from editcore_ft.constraint import divergence
from editcore_ft.hparams import FtHparams
from editcore_ft.loop import Losses, changes
from editcore_ft.objective import Example, examples, nll
from editcore_ft.training import Task, Training, require, trained_update, trained_updates
from editcore_ft.weights import Trainable
from editcore_hooks import EditRequest, Location, Update
from editcore_keyvalue.contexts import contexts_for

if TYPE_CHECKING:
    from editcore_hooks import Session

ROUNDED: Final = 1.1
"""A loss is measured after the delta was cut to its rank: training stopped just below `stop_loss`, and this may be just
above it."""


def compute_update(
    session: "Session", requests: Sequence[EditRequest], location: Location, hparams: FtHparams
) -> Update:
    """One delta a site for all `requests`."""
    require(requests, location)
    return trained_update(session, requests, location, hparams, _training(session, requests, hparams))


def compute_each(
    session: "Session", requests: Sequence[EditRequest], location: Location, hparams: FtHparams
) -> list[Update] | None:
    """The update of each request alone; None where they cannot be trained at once."""
    require(requests, location)
    if not fits(session, hparams):
        return None
    return trained_updates(session, requests, location, hparams, _training(session, requests, hparams))


def _training(session: "Session", requests: Sequence[EditRequest], hparams: FtHparams) -> Training:
    contexts = contexts_for(session, hparams)
    rows = examples(session, requests, contexts, hparams)
    _warn_of_many_tokens(session, requests, rows, hparams)
    penalty = divergence(session, hparams)

    def task(weights: Trainable) -> Task:
        logits = weights.fresh_logits if changes(rows, hparams) else weights.logits

        def objective(batch: Sequence[Example]) -> Losses:
            each = nll(logits, batch)  # (E,)
            return Losses(each, lambda: each.mean() if penalty is None else each.mean() + penalty(weights.logits))

        notes = {"contexts": list(contexts)}
        return Task(objective, lambda batch: nll(logits, batch), ROUNDED * hparams.stop_loss, lambda _: notes)

    return Training(rows, task, "fine-tuning")


def _warn_of_many_tokens(
    session: "Session", requests: Sequence[EditRequest], rows: Sequence[Example], hparams: FtHparams
) -> None:
    many = [example for example in rows if len(example.rows[0].labels) > 1]
    if hparams.objective == "last_token" and many:
        request = requests[min(example.index for example in many)]
        session.say(
            f"{len(many)} of {len(rows)} targets have more than one token ({request.target_new.strip()!r}), but "
            "last_token trains all of them at one position, where one can stand. Use ft-m, or objective=target_only"
        )
