"""From copies and an objective to an update: training, the rank that is kept, and the notes. FT and ICE share it."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch import Tensor

from editcore_ft.hparams import TrainingHparams
from editcore_ft.loop import Objective, diverged, in_batches, train_
from editcore_ft.weights import Copies
from editcore_hooks import Dense, EditRequest, Location, LowRank, TensorUpdate, Update, UsageError

if TYPE_CHECKING:
    from editcore_hooks import Session


@frozen(eq=False)
class Training:
    """`objective` is minimised over `examples`, each with the `index` of its request; `nll` gives for a batch the figure
    by which an edit is judged, (E,), which is to end below `limit`. `clip` bounds every entry of a gradient."""

    examples: Sequence[Any]
    objective: Objective[Any]
    nll: Callable[[Sequence[Any]], Tensor]
    limit: float
    label: str
    clip: float | None = None


def require(requests: Sequence[EditRequest], location: Location) -> None:
    """Raises `UsageError` where there is no request or no site."""
    if not requests:
        raise UsageError("there is nothing to edit", hint="give at least one request")
    if not location.sites:
        raise UsageError("the location names no site", hint="choose another locator, or leave it out")


def trained_update(
    session: "Session",
    requests: Sequence[EditRequest],
    copies: Copies,
    hparams: TrainingHparams,
    training: Training,
    notes: Callable[[], Mapping[str, Any]],
) -> Update:
    """One delta a site for all `requests`. What did not converge is reported, and noted with its final loss.

    `notes` are those of the method, asked for at the end.
    """
    batches = in_batches(training.examples, hparams)
    passes = hparams.steps * (len(batches) if hparams.schedule == "depth" else 1)
    with session.progress(training.label, passes) as progress:
        trained = train_(
            copies, training.examples, hparams, training.objective, progress.advance, seed=session.seed,
            clip=training.clip,
        )  # fmt: skip
    copies.settle_()
    norms = {site: float(copies.delta(site).norm() / copies.start[site].norm()) for site in copies.trained}
    if not all(map(isfinite, norms.values())):
        raise diverged(hparams)
    parts = {site: _update_of(copies.delta(site), hparams.rank) for site in copies.trained}
    for site, part in parts.items():
        if isinstance(part.update, LowRank):
            copies.set_delta_(site, part.update.out @ part.update.in_)
    losses = final_losses(training.nll, batches, len(requests))
    open_ = [i for i, loss in enumerate(losses) if not loss < training.limit]
    if open_:
        say_open(session, requests, losses, open_, training.limit)
    left_out = {str(site): part.residual for site, part in parts.items() if part.residual is not None}
    return Update(
        tensors={site: part.update for site, part in parts.items()},
        notes={
            **notes(),
            "steps": trained.passes,
            "updates": trained.updates,
            "loss": [trained.losses[0], sum(losses) / len(losses)],
            "converged": not open_,
            "final_losses": losses,
            "relative_norm": {str(site): norm for site, norm in norms.items()},
            **({"relative_residual": left_out} if left_out else {}),
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


@torch.no_grad()
def final_losses(nll: Callable[[Sequence[Any]], Tensor], batches: Sequence[Sequence[Any]], n: int) -> list[float]:
    """The NLL of every request with what is returned, in the order of the requests."""
    losses = [0.0] * n
    for batch in batches:
        for example, loss in zip(batch, nll(batch).tolist(), strict=True):
            losses[example.index] = loss
    return losses


def say_open(
    session: "Session", requests: Sequence[EditRequest], losses: Sequence[float], open_: Sequence[int], limit: float
) -> None:
    """Report how many edits did not converge, and the subject of the worst."""
    worst = max(open_, key=lambda i: losses[i])
    session.say(
        f"{len(open_)} of {len(requests)} edits did not converge: the loss of {requests[worst].subject!r} is "
        f"{losses[worst]:.3g} > {limit:.2g}. Raise steps or lr, or widen the constraint"
    )
