"""The low-rank blocks of edits, trained side by side: Adam goes by entry, so each is trained as it would be alone."""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Item, target_logits
from editcore_hooks import EditcoreError, Site
from editcore_melo.hparams import MeloHparams
from editcore_melo.routed import Factors, Trial

if TYPE_CHECKING:
    from editcore_hooks import Session


@frozen(eq=False)
class Trained:
    """The blocks with the scale in B, on the processor, and the loss of each item with its block."""

    factors: Factors
    losses: list[float]


def train(
    session: "Session", items: Sequence[Item], block: Sequence[int], reads: Site, acts: Sequence[Site], h: MeloHparams
) -> Trained:
    """Train a block for the items of each number in `block`; it keeps its first below `stop_loss`, else its best.

    L_b = mean over its items of −1/m Σⱼ log p(yⱼ | x, y₁ … yⱼ₋₁), summed over blocks. Raises `EditcoreError` when
    a loss is not finite.
    """
    owners = torch.tensor(block, device=session.device)  # (n,)
    count = int(owners.max()) + 1
    leaves = {site: _start(session, site, count, h.rank) for site in acts}
    flat = [leaf for pair in leaves.values() for leaf in pair]
    best = [leaf.detach().clone() for leaf in flat]
    lowest = torch.full((count,), torch.inf, device=session.device)
    losses = torch.full((len(items),), torch.inf, device=session.device)
    sizes = torch.bincount(owners, minlength=count)
    adam = torch.optim.Adam(flat, lr=h.lr)
    schedule = torch.optim.lr_scheduler.StepLR(adam, h.halve_every, 0.5)
    trial = Trial(reads, {}, owners)
    trial.acts = tuple(acts)
    with session.live.memories.trying(trial), session.progress("blocks", h.steps) as progress:
        for _ in range(h.steps + 1):
            with torch.enable_grad():
                trial.factors = {site: (a, h.scale * b) for site, (a, b) in leaves.items()}
                each = losses_of(session, items)  # (n,)
                whole = torch.zeros(count, device=each.device).index_add(0, owners, each) / sizes  # L_b
            if not all(map(isfinite, each.tolist())):
                hint = f"take smaller steps: --set lr={h.lr / 10:g}"
                raise EditcoreError("the training of the blocks diverged", hint=hint)
            worst = torch.zeros(count, device=each.device).scatter_reduce(0, owners, each.detach(), "amax")
            better = (worst < lowest) & (lowest >= h.stop_loss)
            lowest = torch.where(better, worst, lowest)
            losses = torch.where(better[owners], each.detach(), losses)
            for kept, leaf in zip(best, flat, strict=True):
                kept[better] = leaf.detach()[better]
            if bool((lowest < h.stop_loss).all()):
                break
            for leaf, gradient in zip(flat, torch.autograd.grad(whole.sum(), flat), strict=True):
                leaf.grad = gradient
            adam.step()
            schedule.step()
            progress.advance()
    pairs = zip(best[::2], best[1::2], strict=True)
    factors = {site: (a.cpu(), (h.scale * b).cpu()) for site, (a, b) in zip(acts, pairs, strict=True)}
    return Trained(factors, losses.tolist())


def losses_of(session: "Session", items: Sequence[Item]) -> Tensor:
    """−1/m Σⱼ log p(yⱼ | x, y₁ … yⱼ₋₁) of each item, (n,)."""
    found = target_logits(session.model, items)
    nll = torch.nn.functional.cross_entropy(found.logits.float(), found.labels, reduction="none")  # (N,)
    counts = torch.bincount(found.item, minlength=len(items)).to(nll.dtype)
    return torch.zeros(len(items), device=nll.device).index_add(0, found.item, nll) / counts


def _start(session: "Session", site: Site, count: int, rank: int) -> tuple[Tensor, Tensor]:
    """A uniform in ±1/√d_in, the same for every block, and B zero: (n, r, d_in) and (n, d_out, r)."""
    d_out, d_in = session.anatomy.weight(site).shape
    generator = torch.Generator().manual_seed(session.seed)
    a = torch.empty(rank, d_in).uniform_(-(d_in**-0.5), d_in**-0.5, generator=generator)
    a = a.to(session.device).repeat(count, 1, 1).requires_grad_()
    return a, torch.zeros(count, d_out, rank, device=session.device, requires_grad=True)
