"""Texts of a memory in its payload: N records of k strings, as the UTF-8 bytes `text` and the places `offsets`.

The string f of record i is `text[offsets[i, f] : offsets[i, f + 1]]`. A record begins where the one before it ends.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from editcore_hooks.values import Tensor

TEXT: Final = "text"
OFFSETS: Final = "offsets"


def record_parts(records: Sequence[Sequence[str]]) -> dict[str, Tensor]:
    """The parts `text` (n,) uint8 and `offsets` (N, k + 1) int64 of a payload, from N records of k strings."""
    import torch

    coded = [[text.encode("utf-8") for text in record] for record in records]
    offsets, at = [], 0
    for record in coded:
        row = [at]
        for data in record:
            at += len(data)
            row.append(at)
        offsets.append(row)
    text = b"".join(data for record in coded for data in record)
    return {
        TEXT: torch.tensor(list(text), dtype=torch.uint8),
        OFFSETS: torch.tensor(offsets, dtype=torch.int64),
    }


def records_of(tensors: Mapping[str, Tensor]) -> list[tuple[str, ...]]:
    """The records of the tensors of a sealed patch."""
    text = bytes(tensors[f"payload/{TEXT}"].tolist())
    rows = tensors[f"payload/{OFFSETS}"].tolist()
    return [tuple(text[a:b].decode("utf-8") for a, b in pairwise(row)) for row in rows]


def count_records(core: Mapping[str, Any]) -> int:
    """The number of records, as the manifest says."""
    return int(core["payload"]["parts"][OFFSETS]["shape"][0])


def records_fault(core: Mapping[str, Any], tensors: Mapping[str, Tensor] | None, k: int) -> str | None:
    """The fault of the records of a payload, each of `k` strings, as a clause; None without one.

    Without tensors it judges dtypes and shapes alone, and imports no torch.
    """
    parts = {name: (part["dtype"], tuple(part["shape"])) for name, part in core["payload"]["parts"].items()}
    dtype, shape = parts.get(TEXT, ("", ()))
    if dtype != "U8" or len(shape) != 1:
        return f"its part {TEXT} is not (n,) U8"
    dtype, places = parts.get(OFFSETS, ("", ()))
    if dtype != "I64" or len(places) != 2 or places[0] < 1 or places[1] != k + 1:
        return f"its part {OFFSETS} is not (N, {k + 1}) I64"
    if tensors is None:
        return None
    flat = tensors[f"payload/{OFFSETS}"].tolist()
    ends = [0, *(row[-1] for row in flat)]
    ordered = all(row[0] == end and sorted(row) == row for row, end in zip(flat, ends, strict=False))
    if not ordered or ends[-1] != shape[0]:
        return f"its part {OFFSETS} does not divide its part {TEXT}"
    try:
        records_of(tensors)
    except UnicodeDecodeError:
        return f"its part {TEXT} does not hold UTF-8 texts"
    return None


def compare_records(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> dict[str, tuple[Any, Any]]:
    """Two sets of records as `PatchKind.diff` gives them: by prompt, the first string, the other strings of each side.

    None where a side does not have the prompt. Prompts for which both sides have the same are left out.
    """
    one, two = _by_prompt(records_of(a)), _by_prompt(records_of(b))
    names = dict.fromkeys([*one, *two])
    pairs = {name: (one.get(name), two.get(name)) for name in names}
    return {f"{_status(*pair)}.{name}": pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _by_prompt(records: Sequence[tuple[str, ...]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for prompt, *rest in records:
        found.setdefault(prompt, []).append(" | ".join(text.strip() for text in rest if text.strip()))
    return {prompt: sorted(rest) for prompt, rest in found.items()}


def _status(one: list[str] | None, two: list[str] | None) -> str:
    if one is None:
        return "added"
    return "removed" if two is None else "changed"
