"""What a payload must be: refusals of files from outside, each a clause. Light: no torch."""

from collections.abc import Mapping
from itertools import pairwise
from math import isfinite
from typing import Any, Final

from editcore_hooks.values import Tensor

FIELDS: Final = {"layer", "shape", "act_ratio", "shard_edits", "merge", "density", "retrieve", "shards"}
LARGEST: Final = 2**31 - 1
"""The largest number of entries that an index of 32 bits reaches."""


def data_fault(data: Any) -> str | None:
    """The fault of the JSON values."""
    if not isinstance(data, dict) or set(data) != FIELDS:
        return f"its data are not {', '.join(sorted(FIELDS))}"
    if not _whole(data["layer"], 0) or not _whole(data["shard_edits"], 1) or not _whole(data["merge"], 0):
        return "its layer, shard_edits and merge are not whole numbers from 0, 1 and 0"
    shape = data["shape"]
    if not isinstance(shape, list) or len(shape) != 2 or not all(_whole(size, 1) for size in shape):
        return "its shape is not that of a matrix"
    if shape[0] * shape[1] > LARGEST:
        return "its matrix is larger than its index reaches"
    if not _share(data["act_ratio"]) or not _share(data["density"]) or type(data["retrieve"]) is not bool:
        return "its act_ratio and density are not shares, or retrieve is not true or false"
    shards = data["shards"]
    if not isinstance(shards, list) or not shards or not all(map(_is_shard, shards)):
        return "its shards do not each have a name, a seed and a ratio"
    names = [shard["name"] for shard in shards]
    return None if len(set(names)) == len(names) else "it names a shard twice"


def shapes_fault(data: Mapping[str, Any], parts: Mapping[str, tuple[str, tuple[int, ...]]], edits: int) -> str | None:
    """The fault of dtypes and shapes, by name of a part, for so many edits."""
    if set(parts) != {"index", "values", "starts", "distances", "least", "shard", "text", "offsets"}:
        return "its parts are not index, values, starts, distances, least, shard, text and offsets"
    entries = parts["values"][1]
    if len(entries) != 1:
        return "its part values is not a list"
    wanted = {
        "index": ("I32", entries),
        "values": ("F32", entries),
        "starts": ("I64", (len(data["shards"]) + 1,)),
        "distances": ("F32", (edits,)),
        "least": ("F32", (len(data["shards"]),)),
        "shard": ("I64", (edits,)),
    }
    for name, expected in wanted.items():
        if parts[name] != expected:
            return f"its part {name} does not fit its shards and texts"
    return None


def values_fault(data: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str | None:
    """The fault of the values."""
    index, values, distances, least = (tensors[f"payload/{name}"] for name in ("index", "values", "distances", "least"))
    starts, shard = tensors["payload/starts"].tolist(), tensors["payload/shard"].tolist()
    if starts[0] != 0 or starts[-1] != len(index) or any(b < a for a, b in pairwise(starts)):
        return "its starts do not divide its entries among the shards"
    if len(index) and (int(index.min()) < 0 or int(index.max()) >= data["shape"][0] * data["shape"][1]):
        return "it has an index outside of its matrix"
    if any(bool((index[a + 1 : b] <= index[a : b - 1]).any()) for a, b in pairwise(starts)):
        return "its index is not ascending, or names an entry twice"
    if not all(bool(each.isfinite().all()) for each in (values, distances, least)):
        return "it holds values that are not finite"
    if bool((distances < 0).any()) or bool((least < 0).any()):
        return "it has distances below 0"
    if shard != sorted(shard) or set(shard) != set(range(len(data["shards"]))):
        return "its edits are not divided among its shards"
    return None


def _is_shard(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) != {"name", "seed", "ratio"}:
        return False
    name = value["name"]
    named = isinstance(name, str) and 0 < len(name) <= 64 and name.isalnum() and name.isascii()
    return named and _whole(value["seed"], 0) and value["seed"] < 2**32 and _share(value["ratio"])


def _whole(value: Any, least: int) -> bool:
    return type(value) is int and value >= least


def _share(value: Any) -> bool:
    return type(value) is float and isfinite(value) and 0 < value <= 1
