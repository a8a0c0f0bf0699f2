"""The memory on a model: the scope decides once on the prompt, and the counterfactual model answers with one edit."""

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from math import log
from typing import Any, Self

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.memories import Memory, Seen
from editcore_hooks import Site
from editcore_serac.nets import encode, normed, squared


@frozen(eq=False)
class Entry:
    """An edit: its prompt, its vector (p,), keys (T + 1, r), the last that of the end, and values (T, d)."""

    prompt: str
    vector: Tensor
    keys: Tensor
    values: Tensor


class Counterfactual(Memory):
    """Answers with entry i on the rows that chose i. `query` is Q (d, r)."""

    def __init__(self, reads: Site, acts: Site, query: Tensor, entries: Sequence[Entry]) -> None:
        self.reads, self.acts = reads, (acts,)
        self.query, self.entries = query, tuple(entries)

    def act(self, site: Site, chosen: Tensor, seen: Seen) -> Tensor:
        # row by row: the bits of a row depend neither on the other rows nor on the other entries
        answered = [
            answer(states, self.query, self.entries[i]) for states, i in zip(seen.outputs, chosen.tolist(), strict=True)
        ]
        return torch.stack(answered)

    def decide(self, seen: Seen) -> Tensor:
        """Row i uses entry i: for training, where the edit is given."""
        return torch.arange(len(seen.outputs), device=seen.outputs.device)


class Scoped(Counterfactual):
    """A set of edits; of several with one prompt, the latest counts."""

    def __init__(
        self,
        reads: Site,
        acts: Site,
        nets: Mapping[str, Tensor],
        entries: Sequence[Entry],
        threshold: float,
        group: Hashable,
    ) -> None:
        last = {entry.prompt: i for i, entry in enumerate(entries)}
        super().__init__(reads, acts, nets["query"], [entries[i] for i in sorted(last.values())])
        self.nets, self.threshold, self.group = nets, threshold, group
        self.given = tuple(entries)
        self.vectors = torch.stack([entry.vector for entry in self.entries])  # (N, p)

    def decide(self, seen: Seen) -> Tensor:
        device = seen.outputs.device
        nets = [self.nets[name].to(device) for name in ("centre", "spread", "project")]
        found = squared(encode(features(seen), *nets), self.vectors.to(device))  # (B, N)
        nearest, at = found.min(1)
        return torch.where(nearest < -log(self.threshold), at, -1)  # max g = exp(−min ‖·‖²) > threshold

    @classmethod
    def joined(cls, memories: Sequence[Any]) -> Self:
        first = memories[0]
        entries = [entry for memory in memories for entry in memory.given]
        return cls(first.reads, first.acts[0], first.nets, entries, first.threshold, first.group)


def features(seen: Seen) -> Tensor:
    """f(x) of each row: the state of the prompt's last token and the mean over the prompt, (B, 2d)."""
    states = seen.outputs.float()
    return torch.cat([seen.at_last(states), seen.mean(states)], dim=-1)


def answer(states: Tensor, query: Tensor, entry: Entry) -> Tensor:
    """h of a row's states (S, d): what it copies of the target, and its own state where it is through with it."""
    device = states.device
    keys, values = entry.keys.to(device), entry.values.to(device)
    scores = normed(states) @ query.to(device) @ keys.T / keys.shape[1] ** 0.5  # (S, T + 1)
    share = scores.softmax(-1)
    found: Tensor = share[:, :-1] @ values + share[:, -1:] * states.float()
    return found.to(states.dtype)


def split(starts: Sequence[int], keys: Tensor, values: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each entry: its slots are the rows from start to start; the last has no value."""
    return [(keys[begin:end], values[begin : end - 1]) for begin, end in pairwise(starts)]
