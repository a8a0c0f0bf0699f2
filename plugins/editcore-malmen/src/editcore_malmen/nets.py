"""MEND's nets with a ridge for each matrix, and the residual of each key: D_j = −η (u_j · ũ_j) δ̃_j.

That is what MEND's update of token j alone would change at its own key. Tan et al. 2024 (arXiv:2311.04661), section 3.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from editcore_hooks import Site
from editcore_mend.nets import Editors


class Residuals(Editors):
    """`log_ridge` (sites,) is λ."""

    def __init__(
        self,
        shapes: Mapping[Site, tuple[int, int]],
        rank: int,
        blocks: int,
        edit_lr: float,
        ridge: float,
        seed: int = 0,
    ) -> None:
        super().__init__(shapes, rank, blocks, edit_lr, seed)
        self.log_ridge = nn.Parameter(torch.full((len(shapes),), ridge).log())

    def ridge(self, site: Site) -> float:
        """ρ of the site."""
        return float(self.log_ridge[self.sites.index(site)].detach().exp())

    def residuals(self, site: Site, u: Tensor, delta: Tensor) -> Tensor:
        """D (N, d_out) of keys u (N, d_in) and their gradients (N, d_out)."""
        new_u, new_delta = self.transformed(site, u, delta)
        return -self.step_size(site) * (u * new_u).sum(-1, keepdim=True) * new_delta
