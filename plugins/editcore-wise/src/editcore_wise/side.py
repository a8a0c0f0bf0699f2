"""The side matrices at work: the router reads the prompt, and rows that it sends to a shard are answered by that."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from editcore.authoring.memories import Memory, Seen
from editcore_hooks import Site
from editcore_wise.router import Activation, choose, prompt_distances, token_distances
from editcore_wise.shards import Part, Rule, Shards, moved, shards_of


class Side(Memory):
    """The parts of shards of one rule, in the order of their patches."""

    def __init__(self, rule: Rule, activation: Activation, parts: Sequence[Part]) -> None:
        self.reads = Site("mlp_out", rule.layer)
        self.acts = (self.reads,)
        self.group = rule
        self.rule, self.activation, self.parts = rule, activation, tuple(parts)
        self._made: dict[torch.device, Shards] = {}

    def shards(self, device: torch.device) -> Shards:
        """The side matrices on a device, made when the first prompt is read there."""
        if device not in self._made:
            made = shards_of(self.parts, self.rule)
            self._made[device] = Shards(made.deltas.to(device), made.thresholds.to(device), made.current)
        return self._made[device]

    def distances(self, seen: Seen) -> Tensor:
        """D of each row with each shard, (k, B)."""
        inputs = seen.inputs.float()
        each = [
            token_distances(self.activation, seen.outputs, inputs @ delta.T)
            for delta in self.shards(seen.outputs.device).deltas
        ]
        return prompt_distances(torch.stack(each), seen.prompt)

    def decide(self, seen: Seen) -> Tensor:
        shards = self.shards(seen.outputs.device)
        return choose(self.distances(seen), shards.thresholds, shards.current)

    def act(self, site: Site, chosen: Tensor, seen: Seen) -> Tensor:
        outputs = seen.outputs.clone()
        for s in sorted(set(chosen.tolist())):
            rows = chosen == s
            delta = self.shards(outputs.device).deltas[s]
            outputs[rows] = moved(seen.inputs[rows], seen.outputs[rows], delta)
        return outputs

    @classmethod
    def joined(cls, memories: Sequence[Any]) -> Self:
        parts = [part for memory in memories for part in memory.parts]
        return cls(memories[0].rule, memories[0].activation, parts)
