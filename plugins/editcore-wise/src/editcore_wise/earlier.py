"""What earlier edits left: their patches, the shard that still takes edits, and prompts to replay."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import define, field, frozen
from torch import Tensor

from editcore_hooks import EditcoreError, Patch, State
from editcore_wise.payload import KIND, masks_of, parts_of, rule_of
from editcore_wise.shards import Part, Rule, delta_of

if TYPE_CHECKING:
    from editcore_hooks import Session

Ids = tuple[int, ...]
REPLAYED: Final = 32
"""Most earlier edits of other shards that an edit is kept apart from, drawn for each."""


@define(eq=False)
class Open:
    """A shard that takes edits: Δ as patches have it, Δ now, the token ids of the prompts of all its edits, and how
    many of these are earlier ones. `alike` are, for each edit of this call, its prompt about others."""

    name: str
    seed: int
    ratio: float
    before: Tensor
    delta: Tensor
    prompts: list[Ids] = field(factory=list)
    earlier: int = 0
    alike: list[list[Ids]] = field(factory=list)

    @classmethod
    def new(cls, rule: Rule, seed: int, ratio: float) -> "Open":
        zero = torch.zeros(rule.shape)
        return cls(f"{seed}", seed, ratio, zero, zero)

    @property
    def mask(self) -> dict[str, Any]:
        return {"seed": self.seed, "ratio": self.ratio}

    def part(self, distances: Tensor, spared: float) -> Part:
        """What was added, as a patch holds it, with D of all its edits and of spared subjects as they are now.

        A shard that no patch holds yet is named by what it begins with.
        """
        added = (self.delta.cpu() - self.before.cpu()).flatten()
        index = added.nonzero()[:, 0].to(torch.int32)
        values, own = added[index.long()].contiguous(), distances[self.earlier :].cpu().contiguous()
        name = self.name
        if not self.earlier:
            held = b"".join(each.numpy().tobytes() for each in (index, values, own))
            name = hashlib.sha256(held).hexdigest()[:16]
        return Part(name, index, values, own, float(distances.min()), spared)


@frozen(eq=False)
class Earlier:
    """Patches of one rule on the model, in their order, and token ids and shard of each of their edits."""

    patches: tuple[Patch, ...]
    prompts: tuple[tuple[Ids, str], ...]


def folded(increments: Sequence[Mapping[str, Tensor]]) -> list[list[Ids]]:
    """The token ids of the prompts of earlier edits, patch by patch. Raises `EditcoreError` where they are cut."""
    found = []
    for increment in increments:
        ids, lengths = increment["prompts"].tolist(), increment["lengths"].tolist()
        ends = list(accumulate(lengths, initial=0))
        if min(lengths, default=0) < 1 or ends[-1] != len(ids):
            raise EditcoreError("the prompts of an earlier edit by wise are cut short", hint="revert that patch")
        found.append([tuple(ids[begin:end]) for begin, end in pairwise(ends)])
    return found


def increment_of(prompts: Sequence[Ids]) -> dict[str, Tensor]:
    """The prompts of the edits of a patch as what later edits need of it."""
    return {
        "prompts": torch.tensor([token for ids in prompts for token in ids]),
        "lengths": torch.tensor([len(ids) for ids in prompts]),
    }


def earlier_of(session: "Session", state: State, rule: Rule) -> Earlier:
    """The patches that the state names and whose shards follow the rule."""
    patches, prompts = [], []
    on = {patch.patch_id: patch for patch in session.live.patches}
    for patch_id, ids in zip(state.patch_ids, state.value or (), strict=True):
        patch = on[patch_id]
        if patch.core["payload"]["kind"] != KIND or rule_of(patch) != rule:
            continue
        patches.append(patch)
        names = [shard["name"] for shard in patch.core["payload"]["data"]["shards"]]
        shards = [names[s] for s in patch.tensors["payload/shard"].tolist()]
        prompts += list(zip(ids, shards, strict=True))
    return Earlier(tuple(patches), tuple(prompts))


def open_shard(earlier: Earlier, rule: Rule) -> Open | None:
    """The newest shard, if it is not full."""
    parts = [part for patch in earlier.patches for part in parts_of(patch)]
    if not parts:
        return None
    name = list(dict.fromkeys(part.name for part in parts))[-1]
    prompts = [ids for ids, shard in earlier.prompts if shard == name]
    if len(prompts) >= rule.shard_edits:
        return None
    seed, ratio = next(masks[name] for patch in earlier.patches if name in (masks := masks_of(patch)))
    delta = delta_of([part for part in parts if part.name == name], rule.shape)
    return Open(name, seed, ratio, delta, delta, prompts, len(prompts))


def aside(session: "Session", earlier: Earlier) -> AbstractContextManager[None]:
    """The model without the side matrices of these patches, which would answer in place of the one in training."""
    without = {patch.patch_id for patch in earlier.patches}
    return session.live.only({patch.patch_id for patch in session.live.patches} - without)


def replayed(
    prompts: Sequence[tuple[Ids, str]], shard: Open, generator: torch.Generator
) -> tuple[list[Ids], list[Ids]]:
    """Prompts of earlier edits, each with its shard, to train with an edit of `shard`: one of that shard, which is to
    stay far, and at most `REPLAYED` of others, which are to stay near."""
    own = [ids for ids, name in prompts if name == shard.name]
    others = [ids for ids, name in prompts if name != shard.name]
    one = [own[int(torch.randint(len(own), (), generator=generator))]] if own else []
    order = torch.randperm(len(others), generator=generator)[:REPLAYED].tolist()
    return one, [others[i] for i in order]
