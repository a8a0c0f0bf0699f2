"""The mask of flat directions in the eigenbasis of B ⊗ A, and the projection onto them.

A = U_A diag(α) U_Aᵀ (f, f), B = U_B diag(β) U_Bᵀ (d, d). Along the direction u_i v_jᵀ of W (d, f), u_i of B and v_j of
A, the loss curves by βᵢ αⱼ. The steepest directions that together hold a share γ of all curvature are left alone:

    M_ij = 1 where βᵢ αⱼ < τ, else 0,    P(G) = U_B [(U_Bᵀ G U_A) ∘ M] U_Aᵀ

With all βᵢ alike M depends on j alone, and P(G) = G P_A is AlphaEdit's projection onto small eigenvalues of A.
"""

from typing import Final

import torch
from attrs import frozen
from torch import Tensor

SMALLEST: Final = 5e-324
"""The least positive number of 64 bits: below it lies zero alone."""
ROUNDING: Final = 1e-12
"""By how much τ is lowered, so that a product that is τ itself is not below it by the rounding of a quotient."""


@frozen(eq=False)
class Flat:
    """P onto the flat directions; float32. `left` U_B (d, d), `right` U_A (f, f), `mask` M (d, f), of 0 and 1."""

    left: Tensor
    right: Tensor
    mask: Tensor

    @property
    def share(self) -> float:
        """Share of the directions that are free."""
        return float(self.mask.mean())

    def inwards(self, change: Tensor) -> Tensor:
        """Coordinates of a change (d, f) along the free directions, (d, f)."""
        return (self.left.T @ change @ self.right) * self.mask

    def outwards(self, coordinates: Tensor) -> Tensor:
        """The change with these coordinates, those along steep directions left out."""
        return self.left @ (coordinates * self.mask) @ self.right.T

    def project(self, change: Tensor) -> Tensor:
        """P(G) for G (d, f)."""
        return self.left @ self.inwards(change) @ self.right.T


def flat(b: tuple[Tensor, Tensor], a: tuple[Tensor, Tensor], energy: float) -> Flat:
    """P for eigenvalues and eigenvectors of B and of A, with the share `energy` of the curvature left alone."""
    (beta, left), (alpha, right) = b, a
    beta, alpha = cleaned(beta), cleaned(alpha)
    mask = beta[:, None] * alpha < threshold(beta, alpha, energy)  # (d, f)
    return Flat(left.float(), right.float(), mask.float())


def threshold(beta: Tensor, alpha: Tensor, energy: float) -> float:
    """τ: the largest number such that the products βᵢ αⱼ ≥ τ sum to at least `energy` of all, less a rounding error.

    The d · f products are never sorted: for a τ each βᵢ asks the sorted αⱼ where to begin, and numbers of 64 bits are
    halved in the order of their bits until two neighbours are left.
    """
    alpha = alpha.double().sort().values  # (f,)
    beta = beta.double()
    # sums[j] = Σ_{k ≥ j} α_k: those of the steepest directions, f + 1 of them
    sums = torch.cat([alpha.flip(0).cumsum(0).flip(0), alpha.new_zeros(1)])

    def held(tau: float) -> float:
        first = torch.searchsorted(alpha, tau / beta.clamp(min=SMALLEST))  # (d,)
        return float((beta * sums[first]).sum())

    if energy >= 1:
        return SMALLEST
    wanted = energy * held(SMALLEST)
    low, high = 1, _bits(float(beta.max() * alpha.max()) * 2)  # SMALLEST has the bits of 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if held(_number(middle)) >= wanted else (low, middle)
    return max(_number(low) * (1 - ROUNDING), SMALLEST)


def cleaned(values: Tensor) -> Tensor:
    """Eigenvalues without what rounding made of zeros."""
    values = values.double()
    noise = values.max().clamp(min=0) * len(values) * torch.finfo(torch.float64).eps
    return torch.where(values > noise, values, 0.0)


def _bits(number: float) -> int:
    return int(torch.tensor(number, dtype=torch.float64).view(torch.int64))


def _number(bits: int) -> float:
    return float(torch.tensor(bits, dtype=torch.int64).view(torch.float64))
