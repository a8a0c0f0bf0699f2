"""Target logits of the same items again and again, while nothing changes but the weights of some sites.

What these weights cannot reach is run once: in a decoder the blocks below the lowest site, in a model with an encoder
the encoder, where all sites are in the decoder. Every column of every row is run from there on: a weight changes what
its block does with each token, so there is no prefix to keep.
"""

from collections.abc import Callable, Sequence

import torch

from editcore.models.running.batch import encode_source, forward, forward_pair
from editcore.models.running.prefix_tree import stands_apart
from editcore.models.running.resume import resume
from editcore.models.running.scoring import Item, TargetLogits, lay_out
from editcore_hooks import Anatomy, Site


def cached_logits(anatomy: "Anatomy", items: Sequence[Item], sites: Sequence[Site]) -> Callable[[], TargetLogits]:
    """`target_logits` of `items` by a call each time, with gradients if enabled; what is kept is (B, T, d) at most.

    Right as long as no weight, hook or patch changes but weights of `sites`. Nothing is kept for a site without a
    layer, such as an embedding, which may be anywhere, and while a memory is attached, which decides in every pass.
    """
    model = anatomy.model
    laid = lay_out(model, items)
    if laid.source is not None:
        source = laid.source
        with torch.no_grad():
            encoded = encode_source(model, source) if _in_decoder(sites) else None
        return lambda: laid.scored(forward_pair(model, source, laid.batch, laid.at, encoded))
    lowest = min(site.layer or 0 for site in sites)
    if lowest == 0 or stands_apart(model):
        return lambda: laid.scored(forward(model, laid.batch, laid.at))
    resumed = resume(anatomy, laid.batch, lowest, through=lowest - 1)
    return lambda: laid.scored(resumed.forward(laid.at))


def _in_decoder(sites: Sequence[Site]) -> bool:
    """Whether all sites are blocks of the decoder: an embedding is often shared with the encoder."""
    return all(site.stack == "decoder" and site.layer is not None for site in sites)
