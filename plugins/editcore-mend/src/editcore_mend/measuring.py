"""Figures of editors whose edits run side by side: how often they hold, in other words too, and what they spare."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from editcore_hooks import Anatomy, Case, Site
from editcore_mend.episode import Episode, Reader
from editcore_mend.losses import Patches, edit_loss, edited, locality_loss

CHUNK: Final = 32
"""Cases of one forward."""


@torch.no_grad()
def measured(
    anatomy: Anatomy,
    reader: Reader,
    cases: Sequence[Case],
    sites: Sequence[Site],
    patches_of: Callable[[Episode], Patches],
) -> Mapping[str, float]:
    """Each case as an edit of its own: `edit` and `rephrase` are shares with every token right, `local` the share of
    tokens that stay the likeliest, and the losses are means over texts. Without rephrases or probes a share is 1."""
    rows: dict[str, list[Tensor]] = {}
    for start in range(0, len(cases), CHUNK):
        episode = reader.whole(cases[start : start + CHUNK])
        patches = patches_of(episode)
        for name, items, owners in (
            ("edit", episode.edits, range(len(episode.edits))),
            ("rephrase", episode.outer, episode.outer_of),
        ):
            if items:
                found = edit_loss(anatomy, items, sites, edited(anatomy, patches, owners))
                rows.setdefault(name, []).append(found.exact)
                rows.setdefault("edit loss", []).append(found.loss)
        if episode.local:
            found = locality_loss(anatomy, episode.local, sites, edited(anatomy, patches, episode.local_of))
            rows.setdefault("local", []).append(found.share)
            rows.setdefault("locality loss", []).append(found.loss)
    means = {name: float(torch.cat(values).mean()) for name, values in rows.items()}
    return {"rephrase": 1.0, "local": 1.0, "locality loss": 0.0, **means}
