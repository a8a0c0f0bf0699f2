"""A result file of EasyEdit as rows and figures."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from editcore.authoring.evaluation import normal
from editcore.authoring.settings import read_text
from editcore_bench.datasets.record import Record
from editcore_bench.easyedit.terms import OTHERS, SAME
from editcore_hooks import RefusedFileError, Report


def read_results(path: Path) -> list[dict[str, Any]]:
    """A row for each case and figure: `metric`, `case`, `about`, `prompt`, `target`, `value`.

    Raises `RefusedFileError` for a file that is no list of results.
    """
    try:
        whole = json.loads(read_text(str(path), path.name))
    except json.JSONDecodeError as error:
        raise RefusedFileError(f"{path.name} is not JSON: {error.msg}", hint="pass a results.json") from error
    if not isinstance(whole, list) or not whole:
        raise RefusedFileError(f"{path.name} is no list of results", hint="pass a results.json")
    return [row for i, one in enumerate(whole) for row in _rows(Record.of(one, f"{path.name}, result {i + 1}"), i)]


def reports(rows: list[dict[str, Any]]) -> list[Report]:
    """The mean of each figure over its cases, with its 95 % interval."""
    found = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        own = [row for row in rows if row["metric"] == metric]
        values = [row["value"] for row in own]
        low, high = normal(values)
        found.append(Report(metric, fmean(values), len(values), low, high, tuple(own), protocol="as EasyEdit ran it"))
    return found


def _rows(record: Record, number: int) -> Iterator[dict[str, Any]]:
    post, request = record.record("post"), record.record("requested_rewrite")
    case = str(record.value.get("case_id", number))
    prompt, target = request.text("prompt"), request.text("target_new")
    figures = {SAME[key]: post.value[key] for key in SAME if post.value.get(key) is not None}
    for group, name in OTHERS.items():
        some = post.value.get(group)
        for key, value in some.items() if isinstance(some, Mapping) else ():
            if str(key).endswith("_acc"):
                figures[f"{name}.{str(key).removesuffix('_acc').lower()}"] = value
    for metric, value in figures.items():
        yield {"metric": metric, "case": case, "about": "edit", "prompt": prompt, "target": target,
               "value": _mean(value, record, metric)}  # fmt: skip


def _mean(value: Any, record: Record, metric: str) -> float:
    """The mean over prompts, which EasyEdit keeps as a list."""
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(type(one) in (int, float) and math.isfinite(one) for one in numbers):
        raise RefusedFileError(
            f"{record.where}: {metric} should be numbers, not {value!r}", hint="leave the result out"
        )
    return fmean(numbers)
