"""Reports of rows: a report is a function of its rows, so those of several runs, or of a file, are put together."""

from collections.abc import Mapping, Sequence
from typing import Any

from editcore.evaluation.engine.dialogue import DialogueMetric, over_cases
from editcore.plugins.registry import Registry, registry
from editcore_hooks import Metric, Report


def summarise(metric: str, rows: Sequence[Mapping[str, Any]], registry_: Registry | None = None) -> Report:
    """The report of rows of a metric, by name. Raises `UsageError` when none of them counts."""
    return of_rows((registry_ or registry()).metric(metric)(), rows)


def of_rows(metric: Metric, rows: Sequence[Mapping[str, Any]]) -> Report:
    """A metric of a plugin that does not ask is taken to be a mean over cases, of shares if no value is beyond 1."""
    every = [dict(row) for row in rows]
    if isinstance(metric, DialogueMetric):
        return metric.report(every)
    return over_cases(metric.name, every, share=all(0 <= (row["value"] or 0) <= 1 for row in every))
