"""The memory on a model: y = W x + B_b A_b x at later matrices, b the block of the nearest point of the cluster hit."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.memories import Memory, Seen
from editcore_hooks import Site
from editcore_melo.clusters import clusters_of

Factors = Mapping[Site, tuple[Tensor, Tensor]]
"""By site A (n, r, d_in) and B (n, d_out, r) of n blocks, the scale in B."""


@frozen(eq=False)
class Blocks:
    """What a patch holds: keys (N, d), initial radii (N,), targets and blocks (N,) of N edits, n low-rank blocks."""

    keys: Tensor
    radii: Tensor
    labels: tuple[str, ...]
    block: Tensor
    factors: Factors


class Routed(Memory):
    """The edits of all patches in their order, in clusters."""

    def __init__(self, reads: Site, rank: int, held: Sequence[Blocks], device: torch.device) -> None:
        self.reads, self.acts = reads, tuple(held[0].factors)
        self.group = (reads, self.acts, rank)
        self.rank, self.held, self.device = rank, tuple(held), device
        keys, radii = (torch.cat([getattr(one, name) for one in held]) for name in ("keys", "radii"))
        labels = [label for one in held for label in one.labels]
        found = clusters_of(keys, radii, labels)
        self.centres = torch.stack([one.centre for one in found]).to(device)  # (C, d)
        self.radii = torch.tensor([one.radius for one in found], device=device)  # (C,)
        inside = torch.zeros(len(found), len(keys), dtype=torch.bool)
        for c, one in enumerate(found):
            inside[c, list(one.points)] = True
        self.inside, self.keys = inside.to(device), keys.to(device)  # (C, N), (N, d)
        starts = torch.tensor([0, *(_count(one.factors) for one in held)]).cumsum(0)
        self.block = torch.cat([one.block + start for one, start in zip(held, starts, strict=False)]).to(device)  # (N,)
        self.factors = {
            site: tuple(torch.cat([one.factors[site][i] for one in held]).to(device) for i in (0, 1))
            for site in self.acts
        }

    def decide(self, seen: Seen) -> Tensor:
        query = seen.at_last(seen.outputs).float()  # (B, d)
        device = query.device
        distance, at = _distances(query, self.centres.to(device)).min(1)  # (B,)
        hit = distance <= self.radii.to(device)[at]
        points = _distances(query, self.keys.to(device)).masked_fill(~self.inside.to(device)[at], torch.inf)  # (B, N)
        return torch.where(hit, self.block.to(device)[points.argmin(1)], -1)

    def act(self, site: Site, chosen: Tensor, seen: Seen) -> Tensor:
        device = seen.outputs.device
        a, b = (factor.to(device) for factor in self.factors[site])
        return added(seen, a[chosen], b[chosen])

    @classmethod
    def joined(cls, memories: Sequence[Any]) -> Self:
        first = memories[0]
        held = [one for memory in memories for one in memory.held]
        return cls(first.reads, first.rank, held, first.device)


class Trial(Memory):
    """Blocks in training; row i uses the block `owners[i]`."""

    def __init__(self, reads: Site, factors: Factors, owners: Tensor) -> None:
        self.reads, self.acts = reads, tuple(factors)
        self.factors, self.owners = factors, owners

    def decide(self, seen: Seen) -> Tensor:
        return self.owners

    def act(self, site: Site, chosen: Tensor, seen: Seen) -> Tensor:
        a, b = self.factors[site]
        return added(seen, a[chosen], b[chosen])


def added(seen: Seen, a: Tensor, b: Tensor) -> Tensor:
    """y + B A x of n rows, (n, S, d_out), from A (n, r, d_in) and B (n, d_out, r) of each."""
    low = seen.inputs.float() @ a.mT  # (n, S, r)
    return seen.outputs + (low @ b.mT).to(seen.outputs.dtype)


def _distances(one: Tensor, other: Tensor) -> Tensor:
    # by differences: the expansion into products loses the small distances that decide
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")


def _count(factors: Factors) -> int:
    return len(next(iter(factors.values()))[0])
