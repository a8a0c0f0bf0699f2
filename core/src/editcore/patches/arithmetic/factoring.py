"""Low-rank factors: what a product of factors amounts to, and fewer of them, by QR and the SVD of a small core."""

import math
from typing import Final

import torch
from attrs import frozen

EXACT: Final = 512
"""Up to this smaller side the SVD of a matrix is computed whole; above, from a random sketch of its range."""
_OVERSAMPLING: Final = 8
_POWER_ITERATIONS: Final = 2


@frozen
class Factors:
    """`left` (rows, r) and `right` (r, columns) in float32; `residual` is ‖δ - left · right‖ / ‖δ‖ in Frobenius."""

    left: torch.Tensor
    right: torch.Tensor
    residual: float

    @property
    def rank(self) -> int:
        return int(self.left.shape[1])


def product_norm(left: torch.Tensor, right: torch.Tensor) -> float:
    """‖left · right‖ without forming it. By QR and not by Gram matrices, which lose half of the digits."""
    return float(torch.linalg.matrix_norm(_core(left, right)[1]))


def in_float32(left: torch.Tensor, right: torch.Tensor) -> Factors:
    """The float64 factors left (rows, r) · right (r, columns) rounded; a residual of infinity where they overflow."""
    found = left.float(), right.float()
    if not all(bool(factor.isfinite().all()) for factor in found):
        return Factors(*found, math.inf)
    # Side by side with its negative, the new product leaves the difference.
    sides = torch.cat([left, -found[0].double()], 1), torch.cat([right, found[1].double()])
    same = torch.equal(found[0].double(), left) and torch.equal(found[1].double(), right)
    return Factors(*found, 0.0 if same else _relative(product_norm(*sides), product_norm(left, right)))


def truncate(left: torch.Tensor, right: torch.Tensor, rank: int) -> Factors:
    """The nearest product of `rank` factors to left (rows, r) · right (r, columns)."""
    left, right = left.double(), right.double()
    bases, core = _core(left, right)
    u, s, vh = torch.linalg.svd(core)  # (p, p), (min(p, q),), (q, q)
    found = _balanced(bases[0] @ u[:, :rank], s[:rank], vh[:rank] @ bases[1].T)
    # Side by side with its negative, the new product leaves the difference, rounding to float32 included.
    difference = product_norm(torch.cat([left, -found[0].double()], 1), torch.cat([right, found[1].double()]))
    return Factors(*found, _relative(difference, float(s.square().sum().sqrt())))


def factorise(matrix: torch.Tensor, tolerance: float, max_rank: int) -> Factors:
    """The fewest factors of `matrix` (float64) within `tolerance`, or `max_rank` of them and the residual they leave.

    Above `EXACT` from a randomised range finder (Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.1), whose seed
    is fixed.
    """
    max_rank = min(max_rank, *matrix.shape)
    if min(matrix.shape) <= EXACT:
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        return _fewest(matrix, u, s, vh, tolerance, max_rank)
    norm, rank = float(matrix.norm()), min(8, max_rank)
    while True:
        u, s, vh = _sketch(matrix, min(rank + _OVERSAMPLING, *matrix.shape))
        left_out = norm**2 - float(s[:rank].square().sum())
        if rank == max_rank or left_out <= (tolerance * norm) ** 2:
            return _fewest(matrix, u, s, vh, tolerance, rank)
        rank = min(2 * rank, max_rank)


def _fewest(
    matrix: torch.Tensor, u: torch.Tensor, s: torch.Tensor, vh: torch.Tensor, tolerance: float, max_rank: int
) -> Factors:
    norm = float(matrix.norm())
    left_out = (norm**2 - s.square().cumsum(0)).clamp(min=0)  # after 1, 2, ... factors
    enough = int((left_out > (tolerance * norm) ** 2).sum()) + 1
    rank = max(1, min(enough, max_rank))
    left, right = _balanced(u[:, :rank], s[:rank], vh[:rank])
    return Factors(left, right, _relative(float((matrix - left.double() @ right.double()).norm()), norm))


def _core(left: torch.Tensor, right: torch.Tensor) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Orthonormal bases of both factors, and the small matrix that is the product in them."""
    q_left, r_left = torch.linalg.qr(left.double())
    q_right, r_right = torch.linalg.qr(right.double().T)
    return (q_left, q_right), r_left @ r_right.T


def _sketch(matrix: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    omega = torch.randn(matrix.shape[1], size, dtype=matrix.dtype, generator=generator)
    basis = torch.linalg.qr(matrix @ omega)[0]  # (rows, size)
    for _ in range(_POWER_ITERATIONS):
        basis = torch.linalg.qr(matrix @ torch.linalg.qr(matrix.T @ basis)[0])[0]
    u, s, vh = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    return basis @ u, s, vh


def _balanced(u: torch.Tensor, s: torch.Tensor, vh: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors of equal size, so that float32 holds both as well as it can."""
    root = s.sqrt()
    return (u * root).float().contiguous(), (root[:, None] * vh).float().contiguous()


def _relative(difference: float, norm: float) -> float:
    return difference / norm if norm else (0.0 if not difference else math.inf)
