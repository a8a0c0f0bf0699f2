"""The memory on a model: y = W x + Wₘ (m ∘ x), m the mask of the stored edit that overlaps most with the prompt's."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.memories import Memory, Seen
from editcore_hooks import Site
from editcore_memoir.fingerprints import Hash, features_of, overlaps, unpack


@frozen(eq=False)
class Written:
    """What a patch wrote: N masks (N, d_in) bool with their thresholds (N,), and an increment of U columns of Wₘ.

    `columns` (U,) int64 names them; `matrix` (U, d_out) float32 holds them as rows.
    """

    hash: Hash
    thresholds: Tensor
    masks: Tensor
    columns: Tensor
    matrix: Tensor

    @classmethod
    def of(cls, data: Mapping[str, Any], parts: Mapping[str, Tensor]) -> "Written":
        """From the data and the parts of a payload."""
        mean = parts["mean"]
        hashed = Hash(data["token"], mean, data["permutation"], data["active"])
        masks = unpack(parts["masks"], len(mean))
        return cls(hashed, parts["thresholds"], masks, parts["columns"], parts["matrix"])


@frozen(eq=False)
class Group:
    """Masks (N, d_in) of one hash, their thresholds (N,) and their numbers (N,)."""

    hash: Hash
    masks: Tensor
    thresholds: Tensor
    numbers: Tensor


class Residual(Memory):
    """Wₘ, the sum of what all patches wrote, and the masks of their edits in the order of the patches."""

    def __init__(self, site: Site, written: Sequence[Written], device: torch.device) -> None:
        self.reads, self.acts, self.group = site, (site,), site
        self.written, self.device = tuple(written), device
        self.columns, self.matrix = total(written)  # (U,), (U, d_out)
        masks = torch.cat([one.masks for one in written])
        self.masks = masks[:, self.columns].to(device)  # (N, U)
        self.columns, self.matrix = self.columns.to(device), self.matrix.to(device)
        self.groups = _groups(written, device)

    def decide(self, seen: Seen) -> Tensor:
        device = seen.inputs.device
        best = torch.zeros(len(seen.inputs), device=device)  # (B,)
        chosen = torch.full((len(best),), -1, device=device)
        for group in self.groups:
            masks = group.hash.masks(features_of(seen, group.hash.token))  # (B, d)
            o = overlaps(masks, group.masks.to(device), group.hash.active)  # (B, N)
            o = torch.where(o >= group.thresholds.to(device), o, -1.0)
            latest = o.flip(1).argmax(1)  # of those that overlap equally
            at = o.shape[1] - 1 - latest
            found = o.gather(1, at[:, None])[:, 0]
            numbers = group.numbers.to(device)[at]
            better = (found > best) | ((found == best) & (numbers > chosen))
            best = torch.where(better, found, best)
            chosen = torch.where(better, numbers, chosen)
        return chosen

    def act(self, site: Site, chosen: Tensor, seen: Seen) -> Tensor:
        device = seen.outputs.device
        return added(seen, self.masks.to(device)[chosen], self.columns.to(device), self.matrix.to(device))

    @classmethod
    def joined(cls, memories: Sequence[Any]) -> Self:
        first = memories[0]
        return cls(first.reads, [one for memory in memories for one in memory.written], first.device)


class Trial(Memory):
    """Wₘ in training: `matrix` (U, d_out) and masks (E, U) of E edits; row i uses the mask of the edit `owners[i]`."""

    def __init__(self, site: Site, masks: Tensor, columns: Tensor) -> None:
        self.reads, self.acts = site, (site,)
        self.masks, self.columns = masks, columns
        self.matrix = torch.empty(0)
        self.owners: Sequence[int] = ()

    def decide(self, seen: Seen) -> Tensor:
        return torch.tensor(self.owners, device=seen.inputs.device)

    def act(self, site: Site, chosen: Tensor, seen: Seen) -> Tensor:
        return added(seen, self.masks[chosen], self.columns, self.matrix)


def added(seen: Seen, masks: Tensor, columns: Tensor, matrix: Tensor) -> Tensor:
    """y + Wₘ (m ∘ x) of n rows, (n, S, d_out), from their masks (n, U) of the columns that Wₘ has."""
    x = seen.inputs[..., columns].float() * masks[:, None]  # (n, S, U)
    return seen.outputs + (x @ matrix).to(seen.outputs.dtype)


def total(written: Sequence[Written]) -> tuple[Tensor, Tensor]:
    """The columns (U,) that any of them wrote, and the sum of the increments, (U, d_out)."""
    if len(written) == 1:
        return written[0].columns, written[0].matrix
    columns = torch.cat([one.columns for one in written]).unique()  # type: ignore[no-untyped-call]  # sorted
    matrix = torch.zeros(len(columns), written[0].matrix.shape[1])
    for one in written:
        matrix.index_add_(0, torch.searchsorted(columns, one.columns), one.matrix)
    return columns, matrix


def _groups(written: Sequence[Written], device: torch.device) -> list[Group]:
    same: dict[Any, list[tuple[int, Written]]] = {}
    start = 0
    for one in written:
        same.setdefault(one.hash.same, []).append((start, one))
        start += len(one.masks)
    return [
        Group(
            pairs[0][1].hash,
            torch.cat([one.masks for _, one in pairs]).to(device),
            torch.cat([one.thresholds for _, one in pairs]).to(device),
            torch.cat([torch.arange(start, start + len(one.masks)) for start, one in pairs]).to(device),
        )
        for pairs in same.values()
    ]
