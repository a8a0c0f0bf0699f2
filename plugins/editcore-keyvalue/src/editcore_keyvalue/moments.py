"""C = E[k kᵀ]: the uncentred second moment of the keys, for all layers in one pass that stops after the deepest.

Always the mean, never the sum: C/λ-type formulas are silently wrong by a factor of the count otherwise. Float32
products of one chunk are summed in float64. Meng et al. 2022 (ROME), section 3.1 and appendix D.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from attrs import define, field, frozen
from torch import Tensor

from editcore.authoring.models import Tap, Trace, forward, pad
from editcore_hooks import Site

if TYPE_CHECKING:
    from editcore_hooks import Session


@frozen
class Moment:
    """`mean` (f, f) float32 over `count` token positions of `corpus`.

    `wanted` is how many there should have been where the pass was interrupted, else 0. `positions` is the number of
    positions that the mean is over, where it is not that of tokens.
    """

    mean: Tensor
    count: int
    corpus: str = ""
    wanted: int = 0
    positions: int = 0

    @property
    def weight(self) -> int:
        """The number of vectors that the mean is over."""
        return self.positions or self.count


@define
class Accumulator:
    """Running sums of k kᵀ for several layers; `state` and `restore` make the pass resumable."""

    session: "Session"
    layers: Sequence[int]
    count: int = 0
    sums: dict[int, Tensor] = field(factory=dict)

    def add(self, rows: Sequence[Sequence[int]]) -> int:
        """Add the keys at every position of `rows` (token ids) and return their number."""
        batch = pad(rows).to(self.session.device)
        sites = {layer: Site("mlp_out", layer) for layer in self.layers}
        with (
            torch.no_grad(),
            Trace(self.session.anatomy, dict.fromkeys(sites.values(), Tap(input=True)), stop=True) as trace,
        ):
            forward(self.session.model, batch)
        for layer, site in sites.items():
            k = trace.input(site)[batch.mask.bool()].float()  # (n, f)
            total = self.sums.setdefault(layer, torch.zeros(k.shape[1], k.shape[1], dtype=torch.float64))
            total += (k.T @ k).double().cpu()
        taken = int(batch.mask.sum())
        self.count += taken
        return taken

    def moments(self) -> Mapping[int, Moment]:
        return {layer: Moment((total / self.count).float(), self.count) for layer, total in self.sums.items()}

    def state(self) -> dict[str, Tensor]:
        return {f"sum.{layer}": total for layer, total in self.sums.items()}

    def restore(self, state: Mapping[str, Tensor], count: int) -> None:
        self.count = count
        self.sums = {layer: state[f"sum.{layer}"].clone() for layer in self.layers}
