"""How much ordinary keys weigh where nobody said so. Light: no torch."""

from typing import Final

DIRECTIONS: Final = 0.1
"""Of the width f of the keys. For ordinary keys E[kᵀ C⁻¹ k] = f, and one edit takes the part kᵀ C⁻¹ k / (λ + kᵀ C⁻¹ k)
of its way: λ means the same in a small model and in a large one when it is told in f. Published values lie between 0.03
(NAMET's for Qwen 2.5 7B) and 3 (MEMIT's for GPT-2 XL) of it."""


def default_lambda(mlp_width: int) -> float:
    """λ for keys of this width."""
    return DIRECTIONS * mlp_width
