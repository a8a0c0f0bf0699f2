"""The ridge solve: one change of a matrix for N residuals D (N, d_out) wanted at N keys K (N, d_in).

ΔWᵀ = argmin ‖K S − D‖² + ρ ‖S‖²
    = Kᵀ A with A = (K Kᵀ + ρ I)⁻¹ D     for N < d_in: a system of N; ΔW = Aᵀ K has the rank N
    = (Kᵀ K + ρ I)⁻¹ Kᵀ D                else: a system of d_in

and what a gradient of ΔW is for D and for λ = log ρ, with M = (K Kᵀ + ρ I)⁻¹ ∂L/∂A or (Kᵀ K + ρ I)⁻¹ ∂L/∂S:

∂L/∂D = M, ∂L/∂λ = −ρ ⟨M, A⟩      and      ∂L/∂D = K M, ∂L/∂λ = −ρ ⟨M, S⟩

Tan et al. 2024 (arXiv:2311.04661), section 4. In float64: K Kᵀ squares the condition of K.
"""

import torch
from attrs import frozen
from torch import Tensor

from editcore_hooks import Dense, LowRank


@frozen(eq=False)
class Solved:
    """`unknown` is A (N, d_out) or S (d_in, d_out), float32; `lower` the Cholesky factor of the system, float64."""

    keys: Tensor
    unknown: Tensor
    lower: Tensor
    ridge: float

    @property
    def dual(self) -> bool:
        """Whether the system is of the size of the keys."""
        return len(self.lower) == len(self.keys) < self.keys.shape[1]

    def update(self, unknown: Tensor | None = None) -> LowRank | Dense:
        """ΔW (d_out, d_in), as factors where the system is dual; of another `unknown` if one is given."""
        value = self.unknown if unknown is None else unknown
        return LowRank(value.T, self.keys) if self.dual else Dense(value.T)

    def gradients(self, of_unknown: Tensor) -> tuple[Tensor, Tensor]:
        """∂L/∂D (N, d_out) and ∂L/∂λ, both float32, from ∂L/∂A or ∂L/∂S."""
        m = torch.cholesky_solve(of_unknown.double(), self.lower)
        of_residuals = m if self.dual else self.keys.double() @ m
        of_lambda = -self.ridge * (m * self.unknown.double()).sum()
        return of_residuals.float(), of_lambda.float()


def solve(keys: Tensor, residuals: Tensor, ridge: float) -> Solved:
    """Solve in the smaller of the two forms."""
    k, d = keys.double(), residuals.double()
    n, d_in = k.shape
    if n < d_in:
        lower = torch.linalg.cholesky(_ridged(k @ k.T, ridge))  # (N, N)
        unknown = torch.cholesky_solve(d, lower)
    else:
        lower = torch.linalg.cholesky(_ridged(k.T @ k, ridge))  # (d_in, d_in)
        unknown = torch.cholesky_solve(k.T @ d, lower)
    return Solved(keys, unknown.float(), lower, ridge)


def _ridged(gram: Tensor, ridge: float) -> Tensor:
    return gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
