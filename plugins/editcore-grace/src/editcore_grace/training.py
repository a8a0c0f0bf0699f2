"""The value of each edit: v minimises the loss of its target with the layer's output replaced by v. Adam, best kept."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Item, Tap, Trace, target_logits
from editcore_hooks import Site

if TYPE_CHECKING:
    from editcore.authoring.memories import Memory
    from editcore_hooks import Session


@frozen(eq=False)
class Read:
    """What the layer is given and returns at the last token of each prompt: (n, d_in) and (n, d_out) float32."""

    inputs: Tensor
    outputs: Tensor


@frozen(eq=False)
class Trained:
    """The best tensors of each edit, first row its own, and its loss with them (n,)."""

    values: tuple[Tensor, ...]
    losses: Tensor


@torch.no_grad()
def read(session: "Session", items: Sequence[Item], site: Site) -> Read:
    """The layer on the current model, memories included, at the end of each prompt."""
    with Trace(session.anatomy, {site: Tap(input=True, output=True)}) as trace:  # type: ignore[arg-type]
        target_logits(session.model, items)
    rows = torch.arange(len(items))
    last = torch.tensor([len(prompt) - 1 for prompt, _ in items])  # rows are padded on the right
    return Read(trace.input(site)[rows, last].float(), trace.output(site)[rows, last].float())


def losses_of(session: "Session", items: Sequence[Item]) -> Tensor:
    """−1/m Σⱼ log p(yⱼ | x, y₁ … yⱼ₋₁) of each item, (n,)."""
    found = target_logits(session.model, items)
    nll = torch.nn.functional.cross_entropy(found.logits.float(), found.labels, reduction="none")  # (N,)
    counts = torch.bincount(found.item, minlength=len(items)).to(nll.dtype)
    return torch.zeros(len(items), device=nll.device).index_add(0, found.item, nll) / counts


def train(
    session: "Session",
    items: Sequence[Item],
    start: Sequence[Tensor],
    memory: "Callable[[Sequence[Tensor]], Memory]",
    lr: float,
    steps: int,
    stop_loss: float,
) -> Trained:
    """Train tensors (n, ...) whose row i belongs to item i; an edit keeps its best, and its first below `stop_loss`.

    Adam goes by entry and losses are summed, so an edit is trained as it would be alone.
    """
    leaves = [tensor.clone().requires_grad_() for tensor in start]
    best = [tensor.clone() for tensor in start]
    lowest = torch.full((len(items),), torch.inf, device=start[0].device)
    optimiser = torch.optim.Adam(leaves, lr=lr)
    with (
        session.live.memories.trying(memory(leaves)),
        torch.enable_grad(),
        session.progress("values", steps) as progress,
    ):
        for _ in range(steps + 1):
            losses = losses_of(session, items)
            better = (losses.detach() < lowest) & (lowest >= stop_loss)
            lowest = torch.where(better, losses.detach(), lowest)
            for kept, leaf in zip(best, leaves, strict=True):
                kept[better] = leaf.detach()[better]
            if bool((lowest < stop_loss).all()):
                break
            optimiser.zero_grad()
            losses.sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            progress.advance()
    return Trained(tuple(best), lowest)
