"""The keys of requests: inputs and gradients of the tokens that count, and how many belong to each request."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import torch
from torch import Tensor

from editcore.authoring.models import Item
from editcore_hooks import Anatomy, Site
from editcore_mend.factors import factors

CHUNK: Final = 32
"""Requests of one forward. Any number of requests is read: the last chunk has what is left."""

Keys = dict[Site, tuple[Tensor, Tensor]]
"""By site: u (N, d_in) and δ (N, d_out)."""


def keys_of(
    anatomy: Anatomy, items: Sequence[Item], sites: Sequence[Site], tokens: Literal["answer", "all"]
) -> list[Keys]:
    """The keys of each item."""
    found: list[Keys] = []
    for start in range(0, len(items), CHUNK):
        some = items[start : start + CHUNK]
        values, _ = factors(anatomy, some, sites)
        for row, item in enumerate(some):
            found.append({site: _counting(site, values[site].of(row), item, tokens, anatomy) for site in sites})
    return found


def _counting(
    site: Site, pair: tuple[Tensor, Tensor], item: Item, tokens: str, anatomy: Anatomy
) -> tuple[Tensor, Tensor]:
    """All tokens, or those that predict the target: the last of the row, as far as they have a gradient."""
    u, delta = pair
    if tokens == "all" or site.stack == "encoder":
        return u, delta
    n = min(len(item[1]), len(u))
    return u[-n:], delta[-n:]


def joined(each: Sequence[Keys], sites: Sequence[Site]) -> Mapping[Site, tuple[Tensor, Tensor]]:
    """The keys of all items together."""
    both = {site: zip(*(one[site] for one in each), strict=True) for site in sites}
    return {site: (torch.cat(us), torch.cat(deltas)) for site, (us, deltas) in both.items()}
