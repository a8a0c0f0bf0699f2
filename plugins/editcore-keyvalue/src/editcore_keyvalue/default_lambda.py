"""The default weight of ordinary keys. Light: no torch."""

from typing import Final

DIRECTIONS: Final = 0.1
"""Share of the width f of the keys. For ordinary keys E[kᵀ C⁻¹ k] = f, and one edit covers kᵀ C⁻¹ k / (λ + kᵀ C⁻¹ k) of
its distance: in units of f, λ means the same in a small model and in a large one. Published values are between 0.03 f
(NAMET's for Qwen 2.5 7B) and 3 f (MEMIT's for GPT-2 XL)."""


def default_lambda(mlp_width: int) -> float:
    """λ for keys of this width."""
    return DIRECTIONS * mlp_width
