"""CrispEdit: W ← W₀ + Δ with Δ = P(Δ), found by Adam on the loss of all requests together.

arXiv:2602.15823. The training is that of FT-M; P keeps to directions along which the loss on ordinary text is flat to
second order. Along a sequence, keys and output gradients of earlier edits are added to the statistics.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from editcore_crispedit.copies import ProjectedCopies, RotatedCopies
from editcore_crispedit.curvature import curvature
from editcore_crispedit.hparams import CrispEditHparams
from editcore_crispedit.own import increment, read
from editcore_ft.hparams import FtHparams
from editcore_ft.loop import Losses
from editcore_ft.method import ROUNDED
from editcore_ft.objective import Example, examples, nll
from editcore_ft.training import Task, Training, require, trained_update
from editcore_ft.weights import Trainable
from editcore_hooks import EditRequest, Location, State, Update, UsageError
from editcore_keyvalue.contexts import contexts_for
from editcore_keyvalue.joint import edited_layers

if TYPE_CHECKING:
    from torch import Tensor

    from editcore_hooks import Session


def compute(
    session: "Session", requests: Sequence[EditRequest], location: Location, state: State, hparams: CrispEditHparams
) -> Update:
    """One update of all `requests`, from the current model."""
    require(requests, location)
    if session.encoder_decoder:
        raise UsageError("crispedit reads ordinary text, and an encoder-decoder writes none", hint="--method ft-m")
    layers = edited_layers(location, "crispedit")
    for site in location.sites:
        session.anatomy.parameter(site)  # refuses a layer that is not there, before statistics are collected
    found = curvature(session, layers, hparams, (state.value or {}) if hparams.history else {})
    flat = {site: found.flat[site.layer] for site in location.sites if site.layer is not None}
    if empty := [site for site, one in flat.items() if not one.mask.any()]:
        raise UsageError(f"no direction of {empty[0]} is flat at this energy", hint="lower it: --set energy=0.9")
    kind = RotatedCopies if hparams.adam == "eigenbasis" else ProjectedCopies
    copies = kind(session, location.sites, flat)
    update = _trained(session, requests, location, copies, training(hparams))
    leak = {str(site): round(share, 6) for site, share in copies.leak.items()}
    kept = increment(read(session, copies, location.sites, requests)) if hparams.history else {}
    notes = {**update.notes, **found.notes, "leak": leak}
    return evolve(update, notes=notes, state_increment=kept, assets=found.assets)


def _trained(
    session: "Session",
    requests: Sequence[EditRequest],
    location: Location,
    copies: ProjectedCopies | RotatedCopies,
    hparams: FtHparams,
) -> Update:
    """The training of FT-M on these copies."""
    contexts = contexts_for(session, hparams)
    rows = examples(session, requests, contexts, hparams)

    def task(weights: Trainable) -> Task:
        def figure(batch: Sequence[Example]) -> "Tensor":
            return nll(weights.logits, batch)  # (E,)

        def objective(batch: Sequence[Example]) -> Losses:
            each = figure(batch)
            return Losses(each, each.mean)

        return Task(objective, figure, ROUNDED * hparams.stop_loss, lambda _: {"contexts": list(contexts)})

    return trained_update(session, requests, location, hparams, Training(rows, task, "fine-tuning"), copies)


def training(hparams: CrispEditHparams) -> FtHparams:
    """The settings of the loop: teacher-forced, without any other constraint on the weights."""
    return FtHparams(
        objective="target_only",
        lr=hparams.lr,
        steps=hparams.steps,
        stop_loss=hparams.stop_loss,
        batch_size=hparams.batch_size,
        eos=hparams.eos,
        context_templates=hparams.context_templates,
        context_count=hparams.context_count,
        context_length=hparams.context_length,
    )
