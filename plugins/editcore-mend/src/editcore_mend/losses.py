"""The losses of an edited model: L_e = NLL of the new target, L_loc = KL(p₀ ‖ p) on what must stay as it was.

The edits run beside the weights, each row of a batch under its own, so that many are trained in one forward.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Branches, Item, branch, cached_logits
from editcore_hooks import Anatomy, LowRank, Site
from editcore_mend.factors import mean_nll

Patches = dict[Site, tuple[Tensor, Tensor]]
"""By site: `out` (E, d_out, r) and `in_` (E, r, d_in) of E edits."""


@frozen(eq=False)
class Scored:
    """Of each item: its loss, whether every token is the likeliest, and the share of tokens that are."""

    loss: Tensor
    exact: Tensor
    share: Tensor


def edited(anatomy: Anatomy, patches: Patches, owners: Sequence[int]) -> AbstractContextManager[Any]:
    """Inside it, row i of a batch runs with the edit `owners[i]`. A single edit is not copied for each row."""
    first, _ = next(iter(patches.values()))
    if len(first) == 1:
        return branch(anatomy, {site: LowRank(out[0], in_[0]) for site, (out, in_) in patches.items()})
    device = first.device
    return Branches(anatomy, patches).on(torch.tensor(owners, device=device))


def edit_loss(
    anatomy: Anatomy, items: Sequence[Item], sites: Sequence[Site], under: AbstractContextManager[Any]
) -> Scored:
    """The mean NLL a token of each item, (n,), with the edit that `under` puts on; differentiable in it."""
    run = cached_logits(anatomy, items, sites, range(len(items)))
    with under:
        found = run()
    hits = (found.logits.argmax(-1) == found.labels).float()
    share = _means(hits, found.item, len(items))
    return Scored(mean_nll(found, len(items)), (share == 1).float(), share)


def locality_loss(
    anatomy: Anatomy,
    items: Sequence[Item],
    sites: Sequence[Site],
    under: AbstractContextManager[Any],
    before: AbstractContextManager[Any] | None = None,
) -> Scored:
    """KL(p₀ ‖ p) in nats, the mean over the scored tokens of each item, (n,).

    p₀ is of the model without the edit, inside `before` if that is given. Hits are where both find one token likeliest.
    """
    run = cached_logits(anatomy, items, sites, range(len(items)))
    with torch.no_grad(), before or nullcontext():
        reference = run().logits.float().log_softmax(-1)  # (N, V)
    with under:
        found = run()
    after = found.logits.float().log_softmax(-1)
    kl = (reference.exp() * (reference - after)).sum(-1)  # (N,)
    same = (after.argmax(-1) == reference.argmax(-1)).float()
    share = _means(same, found.item, len(items))
    return Scored(_means(kl, found.item, len(items)), (share == 1).float(), share)


def _means(values: Tensor, item: Tensor, n: int) -> Tensor:
    zeros = torch.zeros(n, device=values.device)
    counts = zeros.index_add(0, item, torch.ones_like(values))
    return zeros.index_add(0, item, values) / counts
