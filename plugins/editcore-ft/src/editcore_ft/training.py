"""From an objective to updates: training, the rank that is kept, and the notes. FT and ICE share it."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch import Tensor

from editcore_ft.branched import Branched, at_once, train_each_
from editcore_ft.hparams import TrainingHparams
from editcore_ft.loop import Objective, Trained, diverged, in_batches, train_
from editcore_ft.weights import Copies, Trainable
from editcore_hooks import Dense, EditRequest, Location, LowRank, Site, TensorUpdate, Update, UsageError

if TYPE_CHECKING:
    from editcore_hooks import Session


@frozen(eq=False)
class Task:
    """What is learnt with given weights. `nll` gives for a batch the figure by which an edit is judged, (E,), which is
    to end below `limit`; `notes` are those of the method on some examples, asked for at the end."""

    objective: Objective[Any]
    nll: Callable[[Sequence[Any]], Tensor]
    limit: float
    notes: Callable[[Sequence[Any]], Mapping[str, Any]]


@frozen(eq=False)
class Training:
    """`examples`, each with the `index` of its request; `clip` bounds every entry of a gradient."""

    examples: Sequence[Any]
    task: Callable[[Trainable], Task]
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
    location: Location,
    hparams: TrainingHparams,
    training: Training,
    copies: Copies | None = None,
) -> Update:
    """One delta a site for all `requests`. What did not converge is reported, and noted with its final loss.

    `copies` are those of the sites where a method brings a kind of its own.
    """
    copies = copies or Copies(session, location.sites, anchored_at_base=hparams.anchor == "base")
    task = training.task(copies)
    batches = in_batches(training.examples, hparams.batch_size)
    passes = hparams.steps * (len(batches) if hparams.schedule == "depth" else 1)
    with session.progress(training.label, passes) as progress:
        trained = train_(
            copies, training.examples, hparams, task.objective, progress.advance, seed=session.seed, clip=training.clip
        )
    copies.settle_()
    norms = {site: float(value.norm()) for site, value in copies.start.items()}
    parts = _parts({site: copies.delta(site) for site in copies.trained}, norms, hparams)
    for site, part in parts.items():
        if part.kept is not None:
            copies.set_delta_(site, part.kept)
    losses = final_losses(task.nll, batches, len(requests))
    say_open(session, requests, losses, task.limit)
    return _update(parts, trained, losses, task, training.examples)


def trained_updates(
    session: "Session",
    requests: Sequence[EditRequest],
    location: Location,
    hparams: TrainingHparams,
    training: Training,
) -> list[Update]:
    """The update of each request alone, trained side by side; where `branched.fits`."""
    found: dict[int, Update] = {}
    losses = [0.0] * len(requests)
    size = at_once(session, location.sites)
    groups = [training.examples[i : i + size] for i in range(0, len(training.examples), size)]
    limit = 0.0
    with session.progress(training.label, hparams.steps * len(groups)) as progress:
        for group in groups:
            weights = Branched(session, location.sites, [example.index for example in group])
            task = training.task(weights)
            limit = task.limit
            runs = train_each_(weights, group, hparams, task.objective, progress.advance, training.clip)
            progress.advance(hparams.steps - max(run.passes for run in runs.values()))
            parts = {}
            for e, deltas in weights.deltas.items():
                parts[e] = _parts({site: delta.detach() for site, delta in deltas.items()}, weights.norms, hparams)
                for site, part in parts[e].items():
                    if part.kept is not None:
                        deltas[site].data.copy_(part.kept)
            with torch.no_grad():
                for example, loss in zip(group, task.nll(group).tolist(), strict=True):
                    e = example.index
                    losses[e] = loss
                    found[e] = _update(parts[e], runs[e], [loss], task, [example])
    say_open(session, requests, losses, limit)
    return [found[e] for e in range(len(requests))]


@frozen(eq=False)
class _Part:
    """`kept` is the delta after it was cut to a rank, `residual` ‖Δ − Δ_r‖ / ‖Δ‖; None where it was not."""

    update: TensorUpdate
    norm: float
    kept: Tensor | None = None
    residual: float | None = None


def _parts(deltas: Mapping[Site, Tensor], norms: Mapping[Site, float], hparams: TrainingHparams) -> dict[Site, _Part]:
    parts = {site: _part(delta, norms[site], hparams.rank) for site, delta in deltas.items()}
    if not all(isfinite(part.norm) for part in parts.values()):
        raise diverged(hparams)
    return parts


def _part(delta: Tensor, norm: float, rank: int | None) -> _Part:
    """Δ as it is, or the nearest matrix of rank r: Δ_r = Σ_{i ≤ r} σᵢ uᵢ vᵢᵀ (Eckart and Young 1936)."""
    own = float(delta.norm())
    if rank is None or not isfinite(own):
        return _Part(Dense(delta.clone()), own / norm)
    u, sigma, vt = torch.linalg.svd(delta, full_matrices=False)  # (d_out, k), (k,), (k, d_in)
    update = LowRank(u[:, :rank] * sigma[:rank], vt[:rank])
    return _Part(update, own / norm, update.out @ update.in_, float(sigma[rank:].norm()) / own if own else 0.0)


def _update(
    parts: Mapping[Site, _Part], trained: Trained, losses: Sequence[float], task: Task, examples: Sequence[Any]
) -> Update:
    left_out = {str(site): part.residual for site, part in parts.items() if part.residual is not None}
    return Update(
        tensors={site: part.update for site, part in parts.items()},
        notes={
            **task.notes(examples),
            "steps": trained.passes,
            "updates": trained.updates,
            "loss": [trained.losses[0], sum(losses) / len(losses)],
            "converged": all(loss < task.limit for loss in losses),
            "final_losses": list(losses),
            "relative_norm": {str(site): part.norm for site, part in parts.items()},
            **({"relative_residual": left_out} if left_out else {}),
        },
    )


@torch.no_grad()
def final_losses(nll: Callable[[Sequence[Any]], Tensor], batches: Sequence[Sequence[Any]], n: int) -> list[float]:
    """The figure of every request with what is returned, in the order of the requests."""
    losses = [0.0] * n
    for batch in batches:
        for example, loss in zip(batch, nll(batch).tolist(), strict=True):
            losses[example.index] = loss
    return losses


def say_open(
    session: "Session",
    requests: Sequence[EditRequest],
    losses: Sequence[float],
    limit: float,
    remedy: str = "Raise steps or lr, or widen the constraint",
) -> None:
    """Report how many edits did not converge, and the subject of the worst."""
    open_ = [i for i, loss in enumerate(losses) if not loss < limit]
    if open_:
        worst = max(open_, key=lambda i: losses[i])
        session.say(
            f"{len(open_)} of {len(requests)} edits did not converge: the loss of {requests[worst].subject!r} is "
            f"{losses[worst]:.3g} > {limit:.2g}. {remedy}"
        )
