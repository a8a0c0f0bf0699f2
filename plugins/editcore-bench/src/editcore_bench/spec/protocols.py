"""The part of a spec that says how edits meet the model."""

from typing import Final

from editcore_bench.spec.cursor import Cursor
from editcore_bench.spec.values import DatasetChoice, Protocol

KINDS: Final = "single, {batch: N} or {sequential: N}"


def read_protocols(at: Cursor, datasets: tuple[DatasetChoice, ...]) -> tuple[Protocol, ...]:
    """Every protocol that is listed. Raises `UsageError` for one that a dataset has too few cases for."""
    return _fitting(tuple(one for item in at.items(KINDS) for one in _protocols(item)), datasets, at)


def _protocols(at: Cursor) -> list[Protocol]:
    if at.value == "single":
        return [Protocol("single")]
    at.mapping(("batch", "sequential", "gap", "at_once"), KINDS)
    kinds = [kind for kind in ("batch", "sequential") if at.has(kind)]
    if len(kinds) != 1:
        raise at.refused(f"must be one of {KINDS}")
    if kinds == ["batch"]:
        for name in ("gap", "at_once"):
            if at.has(name):
                raise at.at(name).refused("belongs to a sequential protocol")
        return [Protocol("batch", size) for size in _sizes(at.at("batch"))]
    checkpoints = _sizes(at.at("sequential"))
    gap = at.at("gap").integer(1) if at.has("gap") else None
    if gap is not None and gap >= max(checkpoints):
        raise at.at("gap").expected(f"less than the {max(checkpoints)} edits")
    at_once = at.at("at_once").integer(1) if at.has("at_once") else 1
    for number in (*checkpoints, *([] if gap is None else [gap])):
        if number % at_once:
            raise at.at("at_once").refused(f"must divide every mark and the gap, and {number} it does not")
    return [Protocol("sequential", max(checkpoints), tuple(sorted(checkpoints)), gap, at_once)]


def _sizes(at: Cursor) -> list[int]:
    if not isinstance(at.value, list):
        return [at.integer(1)]
    sizes = [item.integer(1) for item in at.items("whole numbers")]
    if len(set(sizes)) < len(sizes):
        raise at.refused("names a size twice")
    return sizes


def _fitting(protocols: tuple[Protocol, ...], datasets: tuple[DatasetChoice, ...], at: Cursor) -> tuple[Protocol, ...]:
    if len(set(protocols)) < len(protocols):
        raise at.refused("names a protocol twice")
    for protocol in protocols:
        for dataset in datasets:
            if dataset.n is not None and protocol.size > dataset.n:
                raise at.refused(
                    f"asks for {protocol.size} edits at once and {dataset.label} has n: {dataset.n}",
                    "raise `n`, or lower the size",
                )
    return protocols
