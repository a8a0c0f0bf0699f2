"""Two patches, shard by shard: how many entries both change, and whether in one direction."""

from typing import Any

import torch
from torch import Tensor

from editcore_hooks import Patch
from editcore_wise.payload import parts_of, rule_of
from editcore_wise.shards import Part


def compare_shards(a: Patch, b: Patch) -> dict[str, tuple[Any, Any]]:
    """By the name of a shard, what each side has of it: entries and norm, and the overlap with the other side.

    None where a side has no part of the shard. Empty where the two are of different matrices.
    """
    if rule_of(a).shape != rule_of(b).shape:
        return {}
    one, two = ({part.name: part for part in parts_of(patch)} for patch in (a, b))
    found: dict[str, tuple[Any, Any]] = {}
    for name in dict.fromkeys([*one, *two]):
        mine, theirs = one.get(name), two.get(name)
        if mine is not None and theirs is not None:
            if _same(mine, theirs):
                continue
            shared, cosine = _overlap(mine, theirs)
            found[f"shard.{name}"] = (_summed(mine), f"{_summed(theirs)}; {shared:.0%} shared, cosine {cosine:.2f}")
        else:
            found[f"shard.{name}"] = (_summed(mine) if mine else None, _summed(theirs) if theirs else None)
    return found


def _same(a: Part, b: Part) -> bool:
    return torch.equal(a.index, b.index) and torch.equal(a.values, b.values)


def _summed(part: Part) -> str:
    return f"{len(part.index)} entries, norm {float(part.values.norm()):.3g}"


def _overlap(a: Part, b: Part) -> tuple[float, float]:
    """Jaccard index of the entries, and the cosine of the two deltas."""
    both = a.index[torch.isin(a.index, b.index)]
    union = len(a.index) + len(b.index) - len(both)
    inner = (_at(a, both) * _at(b, both)).sum()
    norms = a.values.norm() * b.values.norm()
    return len(both) / max(union, 1), float(inner / norms.clamp(min=1e-30))


def _at(part: Part, index: Tensor) -> Tensor:
    return part.values[torch.searchsorted(part.index, index)]
