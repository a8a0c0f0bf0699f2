"""The rank-one update from keys and values: by one key, as published, or by two, the prompt's own and the mean.

R-ROME writes the value at the mean key k̄ and leaves the prompt's key k_p to its likeness with k̄. Where the prompt
begins with its subject, k_p is unlike every other key (few tokens stand before it, and the first ones of a text are
special), and the edit misses the prompt that was asked for. P-ROME reaches it, and leaves the contexts to chance.
"""

from typing import Final

import torch
from attrs import frozen
from torch import Tensor

from editcore_hooks import EditcoreError, LowRank
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


def rank_one(
    keys: Tensor, delta: Tensor, weight: Tensor, lower: Tensor, key_mode: str, others: Tensor | None = None
) -> RankOne:
    """Λ and u from the keys (R, f) of all contexts, the prompt's own first. u has norm 1: its scale cancels in Λ uᵀ.

    `others` (m, f) are keys that u must leave alone, none as published.

    both: see `both_keys`. r-rome: k* = k̄, the value there is m̄ = W k̄ + b. rome: u from k̄, but Λ with the prompt's
    key, whose product with u can come near zero and blow the update up. p-rome: the prompt's key only. The bias
    cancels: v₀ is the prompt's own output W k_p + b, so v₀ − m̄ = W (k_p − k̄).
    """
    if key_mode == "both":
        return both_keys(keys, delta, lower, others)
    keys, w = keys.double(), weight.double()
    k_prompt, k_mean = keys[0], keys.mean(0)  # (f,)
    u = solve(lower, k_prompt if key_mode == "p-rome" else k_mean).to(keys.device)
    u = u if others is None else spare(u, others, lower)
    u = u / u.norm()
    delta = delta.double()
    if key_mode == "r-rome":
        residual, divisor = delta + w @ (k_prompt - k_mean), k_mean @ u
    else:
        residual, divisor = delta, k_prompt @ u
    if divisor.abs() < 1e-2 * (keys @ u).abs().median():
        raise EditcoreError(
            "the key of this prompt is so unlike those in other contexts that the update would explode",
            hint="use --set key_mode=both",
        )
    return RankOne(residual / divisor, u)


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
