"""PRUNE: what edits add up to is not to be larger, in any direction, than the weight itself.

Ma et al. 2024, arXiv:2405.16821, section 4.3: singular values s of the sum of all edits Δ above s_max, the largest of
the unedited weight, become log_α s − log_α s_max + s_max. The rest stay. With F(s) ≤ s enforced: as written, the
logarithm would raise values where s_max · ln α is below one.

Only directions above the limit change, so that the change is Δ + Σᵢ (F(sᵢ) − sᵢ) uᵢ vᵢᵀ over these few.
"""

import math
from typing import TYPE_CHECKING, cast

import torch
from attrs import evolve
from torch import Tensor

from editcore_guards.dense import base_weight, deltas_by_key, dense, require_tensors, total
from editcore_hooks import Dense, LowRank, Site, TensorUpdate, Update

if TYPE_CHECKING:
    from editcore import Patch
    from editcore_hooks import Session

Directions = tuple[Tensor, Tensor, Tensor]
"""U (d, k), s (k,), V (f, k) with Δ V = U s, float64."""


def prune(session: "Session", update: Update, base: float) -> Update:
    """The update with which the sum of all patches present and itself keeps to the limit of each tensor."""
    require_tensors(update, "prune")
    on = deltas_by_key(session.checkpoint, cast("tuple[Patch, ...]", session.live.patches))
    tensors: dict[Site, TensorUpdate] = {}
    shrunk: dict[str, int] = {}
    for site, one in update.tensors.items():
        key = session.anatomy.key_of(session.anatomy.name(site), session.checkpoint.entries)
        shape = session.checkpoint.entries[key].shape
        before = total(on[key], shape) if key in on else None
        if before is not None and session.anatomy.transposed(site):
            before = before.T
        largest = _largest(session, key)
        tensors[site], shrunk[str(site)] = limited(one, before, session.anatomy.weight(site).shape, largest, base)
    return evolve(update, tensors=tensors, notes={**update.notes, "prune": shrunk})


def _largest(session: "Session", key: str) -> float:
    return session.cached(("spectral norm", key), lambda: spectral_norm(base_weight(session.checkpoint, key)))


def limited(
    update: TensorUpdate, before: Tensor | None, shape: torch.Size, largest: float, base: float
) -> tuple[TensorUpdate, int]:
    """The update that keeps the sum with `before` (d, f) to `largest`, and how many directions were shrunk."""
    if before is None and isinstance(update, LowRank):
        u, s, v = directions_of_factors(update)
    else:
        whole = dense(update, shape) if before is None else dense(update, shape) + before
        u, s, v = directions_above(whole, largest)
    above = s > largest
    u, s, v = u[:, above], s[above], v[:, above]
    if not len(s):
        return update, 0
    change = shrink(s, largest, base) - s  # (k,)
    if isinstance(update, LowRank):
        out = torch.cat([update.out.double().cpu(), u * change], 1)
        return LowRank(out, torch.cat([update.in_.double().cpu(), v.T])), len(s)
    return Dense(dense(update, shape) + (u * change) @ v.T), len(s)


def shrink(s: Tensor, largest: float, base: float) -> Tensor:
    """F(s) of values above `largest`."""
    return torch.minimum(s, (s / largest).log() / math.log(base) + largest)


def directions_of_factors(update: LowRank) -> Directions:
    """All singular directions of out @ in_, by QR of both factors and an SVD of the small core."""
    left, core_left = torch.linalg.qr(update.out.double().cpu())  # (d, r), (r, r)
    right, core_right = torch.linalg.qr(update.in_.double().cpu().T)  # (f, r), (r, r)
    u, s, vt = torch.linalg.svd(core_left @ core_right.T)
    return left @ u, s, right @ vt.T


def directions_above(delta: Tensor, limit: float) -> Directions:
    """The singular directions above `limit` of Δ (d, f), by the eigenvectors of the smaller of ΔΔᵀ and ΔᵀΔ."""
    if len(delta) > delta.shape[1]:
        v, s, u = directions_above(delta.T, limit)
        return u, s, v
    values, vectors = torch.linalg.eigh(delta @ delta.T)  # (d,), (d, d)
    above = values > limit**2
    u, s = vectors[:, above], values[above].sqrt()
    return u, s, delta.T @ u / s


def spectral_norm(weight: Tensor) -> float:
    """The largest singular value of W, by the smaller of WWᵀ and WᵀW; float64."""
    square = weight @ weight.T if len(weight) <= weight.shape[1] else weight.T @ weight
    return float(torch.linalg.eigvalsh(square)[-1].clamp(min=0).sqrt())
