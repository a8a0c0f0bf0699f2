"""FT, FT-L, FT-M: W ← W₀ + Δ, with Δ found by Adam on the loss of all requests together."""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import frozen
from torch import Tensor

from editcore_ft.constraint import divergence
from editcore_ft.hparams import FtHparams
from editcore_ft.loop import diverged, train_
from editcore_ft.objective import Example, examples, nll
from editcore_ft.weights import Copies
from editcore_hooks import Dense, EditRequest, Location, LowRank, Site, TensorUpdate, Update, UsageError
from editcore_keyvalue.contexts import CLEAN, check_contexts, sample_contexts

if TYPE_CHECKING:
    from editcore_hooks import Session

ROUNDED: Final = 1.1
"""A loss is measured after the delta was cut to its rank: training stopped just below `stop_loss`, and this may be just
above it."""


def compute_update(
    session: "Session", requests: Sequence[EditRequest], location: Location, hparams: FtHparams
) -> Update:
    """One delta a site for all `requests`. What did not converge is reported, and noted with its final loss."""
    if not requests:
        raise UsageError("there is nothing to edit", hint="give at least one request")
    if not location.sites:
        raise UsageError("the location names no site", hint="choose another locator, or leave it out")
    contexts = _contexts(session, hparams)
    rows = examples(session, requests, contexts, hparams.objective)
    _warn_of_many_tokens(session, requests, rows, hparams)
    batches = [rows[i : i + hparams.batch_size] for i in range(0, len(rows), hparams.batch_size)]
    copies = Copies(session, location.sites, anchored_at_base=hparams.anchor == "base")
    penalty = divergence(session, hparams)
    passes = hparams.steps * (len(batches) if hparams.schedule == "depth" else 1)
    with session.progress("fine-tuning", passes) as progress:
        trained = train_(copies, batches, hparams, penalty, progress.advance)
    norms = {site: float(copies.delta(site).norm() / copies.start[site].norm()) for site in location.sites}
    if not all(map(isfinite, norms.values())):
        raise diverged(hparams)
    parts = {site: _update_of(copies.delta(site), hparams.rank) for site in location.sites}
    for site, part in parts.items():
        if isinstance(part.update, LowRank):
            copies.set_delta_(site, part.update.out @ part.update.in_)
    losses = _final_losses(copies, batches, len(requests))
    open_ = [i for i, loss in enumerate(losses) if not loss < ROUNDED * hparams.stop_loss]
    if open_:
        _say_open(session, requests, losses, open_, hparams)
    return Update(
        tensors={site: part.update for site, part in parts.items()},
        notes={
            "contexts": list(contexts),
            "steps": trained.passes,
            "updates": trained.updates,
            "loss": [trained.losses[0], sum(losses) / len(losses)],
            "converged": not open_,
            "final_losses": losses,
            "relative_norm": {str(site): norm for site, norm in norms.items()},
            **_residuals(parts),
        },
    )


@frozen(eq=False)
class _Part:
    update: TensorUpdate
    residual: float | None
    """‖Δ − Δ_r‖ / ‖Δ‖ of what was left out."""


def _update_of(delta: Tensor, rank: int | None) -> _Part:
    """Δ as it is, or the nearest matrix of rank r: Δ_r = Σ_{i ≤ r} σᵢ uᵢ vᵢᵀ (Eckart and Young 1936)."""
    if rank is None:
        return _Part(Dense(delta.clone()), None)
    u, sigma, vt = torch.linalg.svd(delta, full_matrices=False)  # (d_out, k), (k,), (k, d_in)
    norm = float(sigma.norm())
    residual = float(sigma[rank:].norm()) / norm if norm else 0.0
    return _Part(LowRank(u[:, :rank] * sigma[:rank], vt[:rank]), residual)


def _residuals(parts: dict[Site, _Part]) -> dict[str, Any]:
    left_out = {str(site): part.residual for site, part in parts.items() if part.residual is not None}
    return {"relative_residual": left_out} if left_out else {}


@torch.no_grad()
def _final_losses(copies: Copies, batches: Sequence[Sequence[Example]], n: int) -> list[float]:
    """The NLL of every request with what is returned, in the order of the requests."""
    losses = [0.0] * n
    for batch in batches:
        for example, loss in zip(batch, nll(copies.logits, batch).tolist(), strict=True):
            losses[example.index] = loss
    return losses


def _contexts(session: "Session", hparams: FtHparams) -> tuple[str, ...]:
    if hparams.context_templates:
        return check_contexts(hparams.context_templates)
    if not hparams.context_count:
        return (CLEAN,)
    length, count = hparams.context_length, hparams.context_count
    key = ("contexts", session.seed, (length,), count)
    return session.cached(key, lambda: sample_contexts(session, (length,), count))


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


def _say_open(
    session: "Session",
    requests: Sequence[EditRequest],
    losses: Sequence[float],
    open_: Sequence[int],
    hparams: FtHparams,
) -> None:
    worst = max(open_, key=lambda i: losses[i])
    session.say(
        f"{len(open_)} of {len(requests)} edits did not converge: the loss of {requests[worst].subject!r} is "
        f"{losses[worst]:.3g} > {hparams.stop_loss:g}. Raise steps or lr, or widen the constraint"
    )
