"""A patch's payload: the parts of shards that it adds, the texts of its edits, and their distances."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch

from editcore.authoring.records import record_parts
from editcore_hooks import Patch, Payload
from editcore_wise.shards import Part, Rule

if TYPE_CHECKING:
    from torch import Tensor

KIND: Final = "wise.side"
RULE: Final = ("layer", "shape", "act_ratio", "shard_edits", "merge", "density", "retrieve")


def payload_of(rule: Rule, masks: Sequence[Mapping[str, Any]], parts: Sequence[Part], edits: "Edits") -> Payload:
    """The payload of parts in order, each with how its mask is drawn: `seed` and `ratio`."""
    data = {name: getattr(rule, name) for name in RULE} | {"shape": list(rule.shape)}
    data["shards"] = [{"name": part.name, **mask} for part, mask in zip(parts, masks, strict=True)]
    starts = torch.tensor([0, *(len(part.index) for part in parts)]).cumsum(0)
    tensors: dict[str, Tensor] = {
        "index": torch.cat([part.index for part in parts]).to(torch.int32),
        "values": torch.cat([part.values for part in parts]),
        "starts": starts,
        "distances": torch.cat([part.distances for part in parts]),
        "least": torch.tensor([part.least for part in parts]),
        "shard": torch.repeat_interleave(torch.tensor([len(part.distances) for part in parts])),
    }
    return Payload(KIND, data, {**tensors, **record_parts(edits)})


Edits = Sequence[tuple[str, str]]
"""Prompt and target of each edit."""


def rule_of(patch: Patch) -> Rule:
    """The rule that the patch's shards follow."""
    data = patch.core["payload"]["data"]
    return Rule(**{name: data[name] for name in RULE} | {"shape": tuple(data["shape"])})


def masks_of(patch: Patch) -> dict[str, tuple[int, float]]:
    """Seed and ratio of the mask of each shard, by its name."""
    return {each["name"]: (each["seed"], each["ratio"]) for each in patch.core["payload"]["data"]["shards"]}


def parts_of(patch: Patch) -> list[Part]:
    """The parts of shards that the patch holds."""
    tensors = {name.removeprefix("payload/"): tensor for name, tensor in patch.tensors.items()}
    starts = tensors["starts"].tolist()
    return [
        Part(
            shard["name"],
            tensors["index"][starts[i] : starts[i + 1]],
            tensors["values"][starts[i] : starts[i + 1]],
            tensors["distances"][tensors["shard"] == i],
            float(tensors["least"][i]),
        )
        for i, shard in enumerate(patch.core["payload"]["data"]["shards"])
    ]
