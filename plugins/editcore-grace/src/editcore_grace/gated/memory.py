"""Gates on a model: on the prompt, the gate that is widest open decides, and its map replaces the output."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.memories import Memory, Seen
from editcore_grace.codebook import replaced
from editcore_grace.gated.sides import Side
from editcore_hooks import Site


class Opened(Memory):
    """Replaces outputs by the map of `sides[i]` on the rows that chose i. Every row chooses the first.

    For training, where the gate is taken as open.
    """

    def __init__(self, site: Site, replace: str, sides: Sequence[Side]) -> None:
        self.reads, self.acts = site, (site,)
        self.replace, self.sides = replace, tuple(sides)
        self.prompt_only = replace != "all"

    def decide(self, seen: Seen) -> Tensor:
        return torch.zeros(len(seen.inputs), dtype=torch.int64, device=seen.inputs.device)

    def act(self, site: Site, chosen: Tensor, seen: Seen) -> Tensor:
        # row by row: the bits of a row depend neither on the other rows nor on the other patches
        made = [self.sides[i](x.float()) for x, i in zip(seen.inputs, chosen.tolist(), strict=True)]  # (S, d_out) each
        return replaced(self.replace, torch.stack(made).to(seen.outputs.dtype), seen)


@frozen(eq=False)
class Given:
    """The side of one patch, and the prompts of its edits."""

    side: Side
    prompts: tuple[str, ...]


class Gated(Opened):
    """The sides of several patches. One all of whose prompts are edited by later patches does not count."""

    def __init__(self, site: Site, replace: str, given: Sequence[Given]) -> None:
        self.given = tuple(given)
        latest = {prompt: i for i, one in enumerate(given) for prompt in one.prompts}
        super().__init__(site, replace, [given[i].side for i in sorted(set(latest.values()))])
        self.keys = torch.stack([side.tensors["keys"] for side in self.sides])  # (N, m, d)
        self.biases = torch.stack([side.tensors["bias"] for side in self.sides])  # (N,)
        first = self.sides[0]
        # those of one shape are one set, and decide by one product
        self.group = (site, replace, first.form, *(tuple(tensor.shape) for tensor in first.tensors.values()))

    def decide(self, seen: Seen) -> Tensor:
        query = seen.at_last(seen.inputs).float()  # (B, d)
        scores = query @ self.keys.to(query.device).flatten(0, 1).T  # (B, N m)
        z = scores.reshape(len(query), *self.keys.shape[:2]).logsumexp(-1) + self.biases.to(query.device)  # (B, N)
        widest, at = z.max(1)
        return torch.where(widest >= 0, at, -1)

    @classmethod
    def joined(cls, memories: Sequence[Any]) -> Self:
        first = memories[0]
        return cls(first.reads, first.replace, [one for memory in memories for one in memory.given])
