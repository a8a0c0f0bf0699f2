"""TIES: several deltas as one. Yadav et al. 2023 (arXiv:2306.01708), section 4; Wang et al. 2024, section 2.3.2."""

from collections.abc import Sequence

import torch
from torch import Tensor


def ties(deltas: Sequence[Tensor], density: float) -> Tensor:
    """The merge of deltas (d_out, d_in), of each of which the share `density` of its non-zero entries is kept.

    trim    τᵢ = Δᵢ where |Δᵢ| is among the largest
    elect   γ = sgn Σᵢ τᵢ
    merge   the mean of those τᵢ ≠ 0 with sgn τᵢ = γ, entry by entry; 0 where there is none
    """
    trimmed = torch.stack([trim(delta, density) for delta in deltas])  # (k, d_out, d_in)
    elected = trimmed.sum(0).sign()
    agreeing = (trimmed != 0) & (trimmed.sign() == elected)
    return (trimmed * agreeing).sum(0) / agreeing.sum(0).clamp(min=1)


def trim(delta: Tensor, density: float) -> Tensor:
    """The share `density` of the non-zero entries that are largest; the others are zero."""
    kept = round(density * int((delta != 0).sum()))
    flat = torch.zeros(delta.numel(), dtype=delta.dtype, device=delta.device)
    if kept:
        place = delta.abs().flatten().topk(kept).indices
        flat[place] = delta.flatten()[place]
    return flat.view_as(delta)
