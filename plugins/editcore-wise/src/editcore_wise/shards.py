"""The side matrices of a model, from the parts of them that patches hold: sums, and merges of full shards.

A shard is W + Δ, and Δ the sum of what the patches present added to it. Merges are derived here each time patches come
or go, so a patch can be taken off after its shard was merged.
"""

from collections.abc import Sequence

import torch
from attrs import frozen
from torch import Tensor

from editcore_wise.merging import ties


@frozen
class Rule:
    """How edits are divided among shards, and how these are merged and routed. Shards of one rule are one memory."""

    layer: int
    shape: tuple[int, int]
    act_ratio: float
    shard_edits: int
    merge: int
    density: float
    retrieve: bool


@frozen(eq=False)
class Part:
    """What one patch adds to the shard `name`: `values` (n,) float32 at flat places `index` (n,) of (d_out, d_in).

    `distances` (e,) are D of its edits, and `least` the smallest D of all edits of the shard, both when it was made.
    """

    name: str
    index: Tensor
    values: Tensor
    distances: Tensor
    least: float


@frozen(eq=False)
class Shards:
    """k side matrices as `deltas` (k, d_out, d_in) float32 with `thresholds` (k,); the first may be the current one."""

    deltas: Tensor
    thresholds: Tensor
    current: bool


def shards_of(parts: Sequence[Part], rule: Rule) -> Shards:
    """The shards of parts in the order of their patches."""
    names = list(dict.fromkeys(part.name for part in parts))
    of = {name: [part for part in parts if part.name == name] for name in names}
    deltas = {name: delta_of(own, rule.shape) for name, own in of.items()}
    least = {name: own[-1].least for name, own in of.items()}
    edits = {name: sum(len(part.distances) for part in own) for name, own in of.items()}
    full = [name for name in names if edits[name] >= rule.shard_edits or name != names[-1]]
    current = [name for name in names if name not in full]
    groups = [[name] for name in current] + _groups(full, rule)
    merged = [_merged([deltas[name] for name in group], rule.density) for group in groups]
    thresholds = [rule.act_ratio * min(least[name] for name in group) for group in groups]
    return Shards(torch.stack(merged), torch.tensor(thresholds), bool(current))


def delta_of(parts: Sequence[Part], shape: tuple[int, int]) -> Tensor:
    """Δ (d_out, d_in) of the parts of one shard."""
    delta = torch.zeros(shape[0] * shape[1])
    for part in parts:
        delta[part.index.long()] += part.values
    return delta.view(shape)


def moved(inputs: Tensor, outputs: Tensor, delta: Tensor) -> Tensor:
    """(W + Δ) u of inputs (..., d_in) and outputs W u (..., d_out), summed in float32."""
    return (outputs.float() + inputs.float() @ delta.T).to(outputs.dtype)


def _groups(full: Sequence[str], rule: Rule) -> list[list[str]]:
    """The full shards that become one: with `retrieve` each `merge` in a row, otherwise all of them."""
    if not rule.retrieve:
        return [list(full)] if full else []
    size = max(rule.merge, 1)
    whole = len(full) // size * size
    return [list(full[i : i + size]) for i in range(0, whole, size)] + [[name] for name in full[whole:]]


def _merged(deltas: Sequence[Tensor], density: float) -> Tensor:
    return deltas[0] if len(deltas) == 1 else ties(deltas, density)
