"""The copies that are trained: entries with projected gradients, or coordinates along the free directions."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from editcore_crispedit.kronecker import Flat
from editcore_ft.weights import Copies
from editcore_hooks import Site

if TYPE_CHECKING:
    from editcore_hooks import Session


class ProjectedCopies(Copies):
    """G ← P(G) before every step of Adam, and Δ ← P(Δ) at the end, since Adam divides each entry by its own scale.

    `leak` is ‖Δ − P(Δ)‖ / ‖Δ‖ of what the last projection took away, by site.
    """

    def __init__(self, session: "Session", sites: Sequence[Site], flat: Mapping[Site, Flat]) -> None:
        super().__init__(session, sites)
        self._flat = flat
        self.leak: dict[Site, float] = {}
        for site, leaf in self.trained.items():
            leaf.register_hook(self._projecting(site))  # type: ignore[no-untyped-call]

    def settle_(self) -> None:
        for site, flat in self._flat.items():
            delta = self.delta(site)  # (d, f)
            projected = flat.project(delta)
            norm = float(delta.norm())
            self.leak[site] = float((delta - projected).norm()) / norm if norm else 0.0
            self.set_delta_(site, projected)

    def _projecting(self, site: Site) -> Callable[[Tensor], Tensor]:
        flat, transposed = self._flat[site], self._parameters[site][2]

        def project(gradient: Tensor) -> Tensor:
            return flat.project(gradient.T).T if transposed else flat.project(gradient)

        return project


class RotatedCopies(Copies):
    """W = W₀ + U_B (X ∘ M) U_Aᵀ with X trained: the same gradients, and no step can leave the free directions."""

    def __init__(self, session: "Session", sites: Sequence[Site], flat: Mapping[Site, Flat]) -> None:
        super().__init__(session, sites)
        self._flat = flat
        self.leak: dict[Site, float] = dict.fromkeys(sites, 0.0)
        self.trained = {site: torch.zeros_like(flat[site].mask).requires_grad_() for site in sites}  # (d, f)

    def current(self, site: Site) -> Tensor:
        change = self._flat[site].outwards(self.trained[site])
        return self.start[site] + (change.T if self._parameters[site][2] else change)

    def delta(self, site: Site) -> Tensor:
        return self._flat[site].outwards(self.trained[site].detach())

    def set_delta_(self, site: Site, delta: Tensor) -> None:
        with torch.no_grad():
            self.trained[site].copy_(self._flat[site].inwards(delta))
