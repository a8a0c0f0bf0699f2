"""One rank-one update for two keys: the prompt's own and the mean over contexts.

R-ROME writes the value at the mean key k̄ and leaves the prompt's key k_p to its likeness with k̄. Where the prompt
begins with its subject, k_p is unlike every other key (few tokens stand before it, and the first ones of a text are
special), and the edit misses the prompt that was asked for. P-ROME reaches it, and leaves the contexts to chance.
"""

from typing import Final

import torch
from attrs import frozen
from torch import Tensor

from editcore_hooks import LowRank
from editcore_keyvalue.cholesky import solve
from editcore_rome.sparing import spare

SOFTNESS: Final = 0.01
"""ε relative to the mean diagonal of Kᵀ C⁻¹ K: enough for keys that are alike, little beside those that are not."""


@frozen
class RankOne:
    """Δ = Λ uᵀ with Λ (d,) and u (f,), float64."""

    lam: Tensor
    u: Tensor

    def low_rank(self) -> LowRank:
        return LowRank(self.lam.float()[:, None], self.u.float()[None, :])


def both_keys(keys: Tensor, delta: Tensor, lower: Tensor, others: Tensor | None = None) -> RankOne:
    """Δ = δ uᵀ with u = C⁻¹ K (Kᵀ C⁻¹ K + ε I)⁻¹ 1: of the u with Kᵀu ≈ 1, the one that ordinary keys feel least.

    K (f, 2) holds the prompt's key and k̄, from `keys` (R, f): both get δ (d,), as every context did when δ was found.
    Where the prompt begins with its subject, its key is far from k̄, and an update for k̄ alone does not reach it.
    Where the two are alike, so is the outcome: ε, a share of the mean diagonal, keeps the system solvable.
    """
    keys = keys.double()
    pair = torch.stack([keys[0], keys.mean(0)], 1)  # K (f, 2)
    b = solve(lower, pair).to(keys.device)  # C⁻¹ K (f, 2)
    b = b if others is None else torch.stack([spare(column, others, lower) for column in b.T], 1)
    g = pair.T @ b  # Kᵀ C⁻¹ K (2, 2)
    one = torch.ones(2, dtype=g.dtype, device=g.device)
    u = b @ torch.linalg.solve(g + SOFTNESS * g.diagonal().mean() * one.diag(), one)
    return RankOne(delta.double() * u.norm(), u / u.norm())
