"""C⁻¹k by a Cholesky factor and two triangular solves: 4 f² FLOP; an inverse is never formed."""

import torch
from torch import Tensor

from editcore_hooks import EditcoreError


def factor(second_moment: Tensor, ridge: float) -> Tensor:
    """The lower Cholesky factor (f, f), float64, of C + εI with ε = `ridge` · tr(C)/f.

    The ridge makes C definite when fewer tokens than f were seen, see `ridge`. Raises `EditcoreError` when C is not
    definite even so.
    """
    c = second_moment.double()
    f = c.shape[0]
    epsilon = ridge * c.diagonal().mean()
    lower: Tensor
    lower, failed = torch.linalg.cholesky_ex(c + epsilon * torch.eye(f, dtype=c.dtype, device=c.device))
    if failed:
        raise EditcoreError(
            f"the second moment of the keys is not positive definite with a ridge of {ridge:g}",
            hint="leave mom2_ridge out, so that it is chosen by the spectrum, or raise it: --set mom2_ridge=0.01",
        )
    return lower


def solve(lower: Tensor, key: Tensor) -> Tensor:
    """u = (L Lᵀ)⁻¹ k, float64, shape of `key`: (f,) or (f, n)."""
    columns = key.to(lower.device, torch.float64).view(len(key), -1)  # (f, n)
    u: Tensor = torch.cholesky_solve(columns, lower).view(key.shape)
    return u.to(key.device)
