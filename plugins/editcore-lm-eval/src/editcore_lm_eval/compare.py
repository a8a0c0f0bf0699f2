"""Figures of tasks without and with patches, and the interval of their paired difference."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from editcore.authoring.evaluation import normal


@frozen
class Figure:
    """One metric of one task: `filter` is how answers were read, `n` the documents, `version` the task's.

    `with_patches`, `difference` and its 95 % interval `low` to `high` are None without patches; the interval is None
    too for a figure that is no mean over documents, such as a perplexity of a corpus.
    """

    task: str
    metric: str
    filter: str
    version: str
    n: int
    higher_is_better: bool | None
    without: float
    with_patches: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None


def figures(without: Mapping[str, Any], with_patches: Mapping[str, Any] | None = None) -> list[Figure]:
    """One row a task, metric and filter of one run, or of two runs over the same documents."""
    return [
        _figure(task, key, value, without, with_patches)
        for task, values in without["results"].items()
        for key, value in values.items()
        if "," in key and "_stderr," not in key and isinstance(value, (int, float))
    ]


def _figure(
    task: str, key: str, value: float, without: Mapping[str, Any], with_patches: Mapping[str, Any] | None
) -> Figure:
    metric, _, read = key.partition(",")
    known = without.get("n-samples", {}).get(task, {})
    better = without.get("higher_is_better", {}).get(task, {}).get(metric)
    version = str(without.get("versions", {}).get(task, ""))
    figure = (task, metric, read, version, int(known.get("effective", 0)), better, float(value))
    if with_patches is None:
        return Figure(*figure)
    after = float(with_patches["results"][task][key])
    pairs = _pairs(_by_document(without, task, metric, read), _by_document(with_patches, task, metric, read))
    mean = len(pairs) > 1 and abs(sum(before for before, _ in pairs) / len(pairs) - value) < 1e-6
    low, high = normal([later - before for before, later in pairs]) if mean else (None, None)
    return Figure(*figure, after, after - float(value), low, high)


def _by_document(results: Mapping[str, Any], task: str, metric: str, read: str) -> dict[int, float]:
    rows: Sequence[Mapping[str, Any]] = results.get("samples", {}).get(task, [])
    return {
        row["doc_id"]: float(row[metric])
        for row in rows
        if row.get("filter") == read and isinstance(row.get(metric), (int, float))
    }


def _pairs(before: Mapping[int, float], after: Mapping[int, float]) -> list[tuple[float, float]]:
    return [(value, after[document]) for document, value in before.items() if document in after]
