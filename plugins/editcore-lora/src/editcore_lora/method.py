"""LoRA, AdaLoRA: W ← W₀ + Δ with Δ of low rank, found by Adam on FT-M's objective (Zhang et al. 2024).

LoRA     Δ = (α / r) B A               Hu et al. 2022, arXiv:2106.09685
AdaLoRA  Δ = (α / r₀) P diag(λ) Q      Zhang et al. 2023, arXiv:2303.10512

The adapter is the patch: its factors, with the scale folded in, are what is kept.
"""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

from editcore_ft.hparams import FtHparams
from editcore_ft.loop import in_batches
from editcore_ft.method import ROUNDED
from editcore_ft.objective import examples, nll
from editcore_ft.training import final_losses, require, say_open
from editcore_hooks import EditRequest, Location, LowRank, Update
from editcore_keyvalue.contexts import contexts_for
from editcore_lora.adapters import adapted
from editcore_lora.hparams import LoraHparams
from editcore_lora.training import diverged, train_

if TYPE_CHECKING:
    from editcore_hooks import Session


def compute(session: "Session", requests: Sequence[EditRequest], location: Location, hparams: LoraHparams) -> Update:
    """One adapter a site for all `requests`, on the current model. What did not converge is reported."""
    require(requests, location)
    settings = training(hparams)
    contexts = contexts_for(session, settings)
    batches = in_batches(examples(session, requests, contexts, settings), settings.batch_size)
    with adapted(session, location.sites, hparams, hparams.steps * len(batches)) as adapters:
        with session.progress("adapter", hparams.steps) as progress:
            trained = train_(adapters, batches, hparams, progress.advance)
        losses = final_losses(lambda batch: nll(adapters.logits, batch), batches, len(requests))
        factors = {site: adapters.factors(site) for site in location.sites}
    norms = {site: _norm(each) / float(session.anatomy.weight(site).float().norm()) for site, each in factors.items()}
    if not all(map(isfinite, norms.values())):
        raise diverged(hparams)
    limit = ROUNDED * hparams.stop_loss
    say_open(session, requests, losses, limit)
    notes = {
        "contexts": list(contexts),
        "steps": trained.passes,
        "updates": trained.updates,
        "loss": [trained.losses[0], sum(losses) / len(losses)],
        "converged": all(loss < limit for loss in losses),
        "final_losses": losses,
        "relative_norm": {str(site): norm for site, norm in norms.items()},
        "ranks": {str(site): each.in_.shape[0] for site, each in factors.items()},
    }
    return Update(tensors=dict(factors), notes=notes)


def _norm(factors: LowRank) -> float:
    """‖B A‖, without forming it: tr(BᵀB AAᵀ)."""
    out, in_ = factors.out.double(), factors.in_.double()
    return float(((out.T @ out) * (in_ @ in_.T)).sum().clamp(min=0).sqrt())


def training(hparams: LoraHparams) -> FtHparams:
    """The settings by which examples are made: FT-M's."""
    return FtHparams(
        objective="target_only",
        steps=hparams.steps,
        stop_loss=hparams.stop_loss,
        batch_size=hparams.batch_size,
        eos=hparams.eos,
        context_templates=hparams.context_templates,
        context_count=hparams.context_count,
        context_length=hparams.context_length,
    )
