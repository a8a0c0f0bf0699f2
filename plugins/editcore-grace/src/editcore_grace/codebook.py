"""The codebook on a model: the nearest key decides, within its radius, and its value replaces the layer's output."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from editcore.authoring.memories import Memory, Seen
from editcore_grace.radii import resolve
from editcore_hooks import Site


class Codebook(Memory):
    """N entries: `keys` (N, d_in) and `values` (N, d_out) float32, `initial` radii (N,), and a label each."""

    def __init__(
        self,
        site: Site,
        replace: str,
        expand: bool,
        keys: Tensor,
        values: Tensor,
        initial: Tensor,
        labels: Sequence[str],
    ) -> None:
        self.reads, self.acts = site, (site,)
        self.replace, self.expand = replace, expand
        self.prompt_only = replace != "all"
        self.keys, self.values, self.initial, self.labels = keys, values, initial, tuple(labels)
        self.radii = resolve(keys, initial, labels, expand)
        self.group = (site, replace, expand)

    def decide(self, seen: Seen) -> Tensor:
        query = seen.at_last(seen.inputs).float()  # (B, d)
        # by differences: the expansion into products loses the small distances that decide
        distances = torch.cdist(query, self.keys.to(query.device), compute_mode="donot_use_mm_for_euclid_dist")
        radii = self.radii.to(query.device)  # (N,)
        distances = distances.masked_fill(radii < 0, torch.inf)  # (B, N)
        latest = distances.flip(1).argmin(1)  # of equally near ones
        nearest = distances.shape[1] - 1 - latest
        hit = distances.gather(1, nearest[:, None])[:, 0] <= radii[nearest]
        return torch.where(hit, nearest, -1)

    def act(self, site: Site, chosen: Tensor, seen: Seen) -> Tensor:
        values = self.values.to(seen.outputs.device, seen.outputs.dtype)[chosen]
        return replaced(self.replace, values[:, None], seen)

    @classmethod
    def joined(cls, memories: Sequence[Any]) -> Self:
        first = memories[0]
        keys, values, initial = (
            torch.cat([getattr(memory, name) for memory in memories]) for name in ("keys", "values", "initial")
        )
        labels = [label for memory in memories for label in memory.labels]
        return cls(first.reads, first.replace, first.expand, keys, values, initial, labels)


class Trial(Memory):
    """The values (B, d_out) of B rows in training: each row uses its own."""

    def __init__(self, site: Site, replace: str, values: Tensor) -> None:
        self.reads, self.acts = site, (site,)
        self.replace, self.values = replace, values

    def decide(self, seen: Seen) -> Tensor:
        return torch.arange(len(seen.inputs), device=seen.inputs.device)

    def act(self, site: Site, chosen: Tensor, seen: Seen) -> Tensor:
        return replaced(self.replace, self.values[chosen, None].to(seen.outputs.dtype), seen)


def replaced(replace: str, values: Tensor, seen: Seen) -> Tensor:
    """The outputs (n, S, d_out) with `values` (n, S or 1, d_out) at the tokens that `replace` names."""
    if replace == "all":
        return values.expand_as(seen.outputs)
    columns = torch.arange(seen.outputs.shape[1], device=seen.outputs.device)
    here = seen.prompt if replace == "prompt" else columns == seen.last[:, None]  # (n, S)
    return torch.where(here[..., None], values, seen.outputs)
