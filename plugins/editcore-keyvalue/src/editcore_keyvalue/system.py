"""The one linear system of the family: Δ = R Aᵀ with Aᵀ = K̃ᵀ (M + K̃ K̃ᵀ)⁻¹, for any number of edits.

K (f, n) are the keys of n edits, R (d, n) what is still to be added to their values. What tells methods apart are
values: M = λC + H̃ H̃ᵀ with the keys H (f, m) of earlier edits, C = I where nothing is known of ordinary keys, and
K̃ = P K, H̃ = P H where a projector is given. λ = 0 asks for ΔK = R and ΔH = 0 themselves, with the least change in the
norm of C.

    MEMIT                λ, C                  Meng et al. 2023, equation 14
    EMMET                γλ, C + (μ/λ) I       Gupta et al. 2024, arXiv:2403.14236; γ = 0 is batched ROME
    AlphaEdit            L₂, I, P, H           Fang et al. 2025, equation 13, in its symmetric form
    UltraEdit            1, I, keys of tokens  Gu et al. 2025
"""

from typing import Final, Protocol

import torch
from attrs import evolve, frozen
from torch import Tensor
from torch.nn.functional import normalize

from editcore_hooks import EditcoreError
from editcore_keyvalue.cached_solve import CachedSolve

ALIKE: Final = 0.999
"""Cosine above which two keys are one: such a key has one value, whoever wrote it."""


class Projector(Protocol):
    """P with P² = P = Pᵀ, applied and never formed."""

    def apply(self, columns: Tensor) -> Tensor: ...


@frozen(eq=False)
class Preserved:
    """M: what an update should leave as it is, and how much.

    `lower` is the Cholesky factor of C (f, f), float64, `second_moment` C itself, used only where there are more keys
    than directions; both None for C = I. `history` is H (f, m). `solved` knows what was solved for with `lower` before.
    """

    weight: float
    lower: Tensor | None = None
    second_moment: Tensor | None = None
    history: Tensor | None = None
    projector: Projector | None = None
    solved: CachedSolve | None = None

    def sparing(self, columns: Tensor) -> "Preserved":
        """With `columns` (f, m) beside the keys of earlier edits."""
        history = columns if self.history is None else torch.cat([self.history.to(columns), columns], 1)
        return evolve(self, history=history)

    def writing(self, keys: Tensor) -> "tuple[Preserved, Tensor]":
        """For writing `keys` (f, n): earlier keys that are the same no longer count, and which of `keys` had one, (n,).

        An earlier key that is written again would hold its new value half way to the old one. Without weight earlier
        keys must differ from each other too: of equal ones the last is kept.
        """
        again = torch.zeros(keys.shape[1], dtype=torch.bool, device=keys.device)
        if self.history is None or not self.history.numel():
            return self, again
        h = normalize(self.history.to(keys.device, torch.float64), dim=0)  # (f, m)
        same = normalize(keys.double(), dim=0).T @ h > ALIKE  # (n, m)
        dropped = same.any(0)  # (m,)
        if self.weight == 0:
            dropped |= (h.T @ h > ALIKE).triu(1).any(1)
        return evolve(self, history=self.history[:, ~dropped.to(self.history.device)]), same.any(1)

    def project(self, columns: Tensor) -> Tensor:
        return columns if self.projector is None else self.projector.apply(columns)


def right_factor(keys: Tensor, preserved: Preserved) -> Tensor:
    """A (f, n), float64, for `keys` (f, n).

    With G = [H̃ K̃] the columns of K̃ in (λC + GGᵀ)⁻¹ G = C⁻¹G (λI + Gᵀ C⁻¹G)⁻¹: a system of n + m unknowns whose
    factor of C serves every λ. Only with more keys than directions is the matrix of size f itself formed. Raises
    `EditcoreError` when the system is singular.
    """
    device = keys.device if preserved.lower is None else preserved.lower.device
    k = preserved.project(keys.to(device, torch.float64))  # (f, n)
    g = k
    if preserved.history is not None and preserved.history.numel():
        h = preserved.project(preserved.history.to(device, torch.float64))  # (f, m)
        g = torch.cat([h, k], 1)  # (f, m + n)
    f, n, total = k.shape[0], k.shape[1], g.shape[1]
    if total > f and preserved.weight > 0:
        c = torch.eye(f, dtype=g.dtype, device=device) if preserved.lower is None else _whole(preserved)
        lower = _cholesky(preserved.weight * c.to(device, torch.float64) + g @ g.T)
        return torch.cholesky_solve(k, lower).to(keys.device)
    if preserved.solved is not None:
        x, small = preserved.solved(g)
    else:
        x = g if preserved.lower is None else torch.cholesky_solve(g, preserved.lower)  # C⁻¹G
        small = g.T @ x  # (m + n, m + n)
    small = (small + small.T) / 2
    small.diagonal().add_(preserved.weight)
    last = torch.eye(total, dtype=g.dtype, device=device)[:, total - n :]
    return (x @ torch.cholesky_solve(last, _cholesky(small))).to(keys.device)  # (f, n)


def _whole(preserved: Preserved) -> Tensor:
    if preserved.second_moment is not None:
        return preserved.second_moment
    assert preserved.lower is not None
    return preserved.lower @ preserved.lower.T


def _cholesky(matrix: Tensor) -> Tensor:
    lower: Tensor
    lower, failed = torch.linalg.cholesky_ex(matrix)
    if failed or not bool(torch.isfinite(lower).all()):
        raise EditcoreError(
            "the keys of these edits, and of earlier ones, depend on each other, so not each can have its own value",
            hint="edit fewer at a time, or set a weight or slack above 0, which lets values be missed a little",
        )
    return lower
