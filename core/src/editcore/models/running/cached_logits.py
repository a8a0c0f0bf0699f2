"""Target logits of the same items again and again, while nothing changes but the weights of some sites.

What these weights cannot reach is run once: in a decoder the blocks below the lowest site, in a model with an encoder
the encoder, where all sites are in the decoder. Every column of every row is run from there on: a weight changes what
its block does with each token, so there is no prefix to keep. Items that begin alike share a row where that leaves
less to read.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from editcore.models.running.batch import Batch, Positions, encode_source, forward, forward_pair
from editcore.models.running.prefix_tree import batch_of, rows_for, stands_apart
from editcore.models.running.resume import resume
from editcore.models.running.scoring import Item, Laid, TargetLogits, lay_out
from editcore_hooks import Anatomy, Site


def cached_logits(
    anatomy: "Anatomy",
    items: Sequence[Item],
    sites: Sequence[Site],
    owners: Sequence[int] | None = None,
    around: Callable[[Sequence[int]], AbstractContextManager[Any]] | None = None,
) -> Callable[[], TargetLogits]:
    """`target_logits` of `items` by a call each time, with gradients if enabled; what is kept is (B, T, d) at most.

    Right as long as nothing changes below the lowest of `sites`. Their weights may change from call to call, and so may
    what a `Tap` at them or above does: every block from the lowest on runs in each call. Nothing is kept for a site
    without a layer, such as an embedding, which may be anywhere, and while a memory is attached, which decides in every
    pass. With `owners` of the items, only those of one share a row, and `around(owners of the rows)` is entered for
    each forward.

    A row has T = prompt + target - 1 tokens. Items that begin alike may share a row, in which a column is no position
    of an item. For a `Tap` that acts at a position give each an owner of its own, `owners=range(len(items))`: then row
    i is item i.
    """
    model = anatomy.model
    laid = lay_out(model, items)
    whose = list(owners) if owners is not None else [0] * len(items)
    beside: Callable[[Sequence[int]], AbstractContextManager[Any]] = around or (lambda _: nullcontext())
    if laid.source is not None:
        source = laid.source
        with torch.no_grad():
            encoded = encode_source(model, source) if in_decoder(sites) else None
        return _inside(beside, whose, laid, lambda: forward_pair(model, source, laid.batch, laid.at, encoded))
    batch, at, whose = _shared(anatomy, items, whose, laid)
    lowest = min(site.layer or 0 for site in sites)
    if lowest == 0 or stands_apart(model):
        return _inside(beside, whose, laid, lambda: forward(model, batch, at))
    resumed = resume(anatomy, batch, lowest, through=lowest - 1)
    return _inside(beside, whose, laid, lambda: resumed.forward(at))


def _inside(
    around: Callable[[Sequence[int]], AbstractContextManager[Any]],
    whose: Sequence[int],
    laid: Laid,
    run: Callable[[], torch.Tensor],
) -> Callable[[], TargetLogits]:
    def scored() -> TargetLogits:
        with around(whose):
            return laid.scored(run())

    return scored


def in_decoder(sites: Sequence[Site]) -> bool:
    """Whether all sites are blocks of the decoder: an embedding is often shared with the encoder."""
    return all(site.stack == "decoder" and site.layer is not None for site in sites)


def _shared(
    anatomy: Anatomy, items: Sequence[Item], owners: list[int], laid: Laid
) -> tuple[Batch, Positions, list[int]]:
    """The batch, its scored places and the owners of its rows: common beginnings are read once where the padded batch
    is smaller so."""
    members = [(owner, (*prompt, *target)[:-1]) for owner, (prompt, target) in zip(owners, items, strict=True)]
    rows = rows_for(anatomy.model, members, worth=1)
    if len(rows) * max(len(row.ids) for row in rows) >= laid.batch.ids.numel():
        return laid.batch, laid.at, owners
    found = {number: (r, columns) for r, row in enumerate(rows) for number, columns in row.columns.items()}
    where = [
        (found[i][0], column)
        for i, (prompt, target) in enumerate(items)
        for column in found[i][1][len(prompt) - 1 :][: len(target)]
    ]
    device = laid.batch.ids.device
    row_of, column_of = torch.tensor(where, device=device).unbind(1)
    return batch_of(anatomy.model, rows).to(device), (row_of, column_of), [owners[row.first] for row in rows]
