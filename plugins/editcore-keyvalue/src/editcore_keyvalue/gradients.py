"""B = E[g gᵀ]: the second moment of the gradients of the loss at the output of an MLP, for all layers in one pass.

g = ∂L/∂y at one position, L the sum of −log p of the next tokens of the text: summed, so that g does not depend on the
length of the text. With A = E[k kᵀ] of the inputs, B ⊗ A is the Kronecker-factored curvature of the loss in W (Martens
and Grosse 2015, arXiv:1503.05671, with the text's own tokens as labels).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import torch
from attrs import define
from torch import Tensor
from torch.nn.functional import cross_entropy

from editcore.authoring.models import Place, Tap, Trace, forward, pad
from editcore_hooks import Site
from editcore_keyvalue.moments import Accumulator, Moment

if TYPE_CHECKING:
    from editcore_hooks import Session

LOGITS: Final = 2**25
"""Logits of one forward: every position has those of the whole vocabulary, and they are kept for the way back."""


@define
class GradientAccumulator(Accumulator):
    """Running sums of g gᵀ. `count` is the number of tokens read, `positions` that of those with a next token."""

    positions: int = 0

    def add(self, rows: Sequence[Sequence[int]]) -> int:
        for part in _parts(rows, self.session.model.config.get_text_config().vocab_size):
            found = gradients(self.session, self.layers, part)
            for layer, g in found.items():
                total = self.sums.setdefault(layer, torch.zeros(g.shape[1], g.shape[1], dtype=torch.float64))
                total += (g.T @ g).double().cpu()
            self.positions += sum(len(row) - 1 for row in part)
        taken = sum(map(len, rows))
        self.count += taken
        return taken

    def moments(self) -> Mapping[int, Moment]:
        return {
            layer: Moment((total / self.positions).float(), self.count, positions=self.positions)
            for layer, total in self.sums.items()
        }

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), "positions": torch.tensor([self.positions])}

    def restore(self, state: Mapping[str, Tensor], count: int) -> None:
        super().restore(state, count)
        self.positions = int(state["positions"])


def gradients(session: "Session", layers: Sequence[int], rows: Sequence[Sequence[int]]) -> dict[int, Tensor]:
    """g (n, d), float32, of each layer, at the n positions of `rows` that have a next token."""
    batch = pad(rows).to(session.device)
    row, column = batch.mask[:, 1:].nonzero().unbind(1)  # (n,): those whose next column holds a token
    labels = batch.ids[row, column + 1]  # (n,)
    sites = {layer: Site("mlp_out", layer) for layer in layers}
    # weights need no gradient: the graph begins here
    start = torch.zeros((), device=session.device, requires_grad=True)
    lowest = sites[min(layers)]
    taps: dict[Place, Tap] = {
        site: Tap(output=True, edit=_plus(start) if site == lowest else None) for site in sites.values()
    }
    with torch.enable_grad(), Trace(session.anatomy, taps, detach=False) as trace:
        loss = cross_entropy(forward(session.model, batch, (row, column)).float(), labels, reduction="sum")
        found = torch.autograd.grad(loss, [trace.output(site) for site in sites.values()])  # (B, T, d) each
    return {layer: g[row, column].float() for layer, g in zip(sites, found, strict=True)}


def _plus(start: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda output: output + start.to(output.dtype)


def _parts(rows: Sequence[Sequence[int]], vocabulary: int) -> Iterator[list[Sequence[int]]]:
    """Rows with a next token, as many together as have LOGITS logits, and at least one."""
    part: list[Sequence[int]] = []
    for row in rows:
        if len(row) < 2:
            continue
        if part and (len(part) + 1) * max(map(len, [*part, row])) * vocabulary > LOGITS:
            yield part
            part = []
        part.append(row)
    if part:
        yield part
