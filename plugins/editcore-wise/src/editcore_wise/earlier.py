"""What earlier edits left: their patches, the shard that still takes edits, and prompts to replay."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import define, field, frozen
from torch import Tensor

from editcore.authoring.records import records_of
from editcore_hooks import Patch, State
from editcore_wise.payload import KIND, masks_of, parts_of, rule_of
from editcore_wise.shards import Part, Rule, delta_of

if TYPE_CHECKING:
    from editcore_hooks import Session

REPLAYED: Final = 32
"""Most earlier edits of other shards that an edit is kept apart from, drawn anew for each."""


@define(eq=False)
class Open:
    """A shard that takes edits: Δ as patches have it, Δ now, the prompts of its edits, and distances of the new ones."""

    name: str
    seed: int
    ratio: float
    before: Tensor
    delta: Tensor
    prompts: list[str]
    distances: list[float] = field(factory=list)
    fresh: bool = True
    """Whether no patch holds a part of it yet: its name is then made of what it holds."""

    @classmethod
    def new(cls, rule: Rule, seed: int, ratio: float) -> "Open":
        zero = torch.zeros(rule.shape)
        return cls(f"{seed}", seed, ratio, zero, zero, [])

    @property
    def mask(self) -> dict[str, Any]:
        return {"seed": self.seed, "ratio": self.ratio}

    def part(self) -> Part:
        """What was added, as a patch holds it."""
        added = (self.delta.cpu() - self.before.cpu()).flatten()
        index = added.nonzero()[:, 0].to(torch.int32)
        values, distances = added[index.long()].contiguous(), torch.tensor(self.distances)
        name = self.name
        if self.fresh:
            held = b"".join(each.numpy().tobytes() for each in (index, values, distances))
            name = hashlib.sha256(held).hexdigest()[:16]
        return Part(name, index, values, distances)


@frozen(eq=False)
class Earlier:
    """Patches of one rule on the model, in their order, and prompt and shard of each of their edits."""

    patches: tuple[Patch, ...]
    prompts: tuple[tuple[str, str], ...]


def earlier_of(session: "Session", state: State, rule: Rule) -> Earlier:
    """The patches that the state names and whose shards follow the rule."""
    found = tuple(
        patch
        for patch in session.live.patches
        if patch.patch_id in state.patch_ids and patch.core["payload"]["kind"] == KIND and rule_of(patch) == rule
    )
    prompts = []
    for patch in found:
        names = [shard["name"] for shard in patch.core["payload"]["data"]["shards"]]
        shards = patch.tensors["payload/shard"].tolist()
        prompts += [(prompt, names[s]) for (prompt, _), s in zip(records_of(patch.tensors), shards, strict=True)]
    return Earlier(found, tuple(prompts))


def open_shard(earlier: Earlier, rule: Rule) -> Open | None:
    """The newest shard, if it is not full."""
    parts = [part for patch in earlier.patches for part in parts_of(patch)]
    if not parts:
        return None
    name = list(dict.fromkeys(part.name for part in parts))[-1]
    prompts = [prompt for prompt, shard in earlier.prompts if shard == name]
    if len(prompts) >= rule.shard_edits:
        return None
    seed, ratio = next(masks[name] for patch in earlier.patches if name in (masks := masks_of(patch)))
    delta = delta_of([part for part in parts if part.name == name], rule.shape)
    return Open(name, seed, ratio, delta, delta, prompts, fresh=False)


@contextmanager
def aside(session: "Session", earlier: Earlier) -> Iterator[None]:
    """The model without the side matrices of these patches, which would answer in place of the one in training."""
    from editcore_wise.kind import SideKind

    for patch in earlier.patches:
        session.live.memories.take(patch.patch_id)
    try:
        yield
    finally:
        for patch in earlier.patches:
            session.live.memories.put(patch.patch_id, SideKind().memory(session, patch))


def replayed(
    prompts: Sequence[tuple[str, str]], shard: Open, generator: torch.Generator
) -> tuple[list[str], list[str]]:
    """Prompts of earlier edits, each with its shard, to train with an edit of `shard`: one of that shard, which is to
    stay far, and at most `REPLAYED` of others, which are to stay near."""
    own = [prompt for prompt, name in prompts if name == shard.name]
    others = [prompt for prompt, name in prompts if name != shard.name]
    one = [own[int(torch.randint(len(own), (), generator=generator))]] if own else []
    order = torch.randperm(len(others), generator=generator)[:REPLAYED].tolist()
    return one, [others[i] for i in order]
