"""The metrics of an evaluation for which no metric was named: those that are `usual` and whose needs the cases meet."""

from collections.abc import Sequence

from editcore.plugins.registry import Registry
from editcore_hooks import Case


def usual_metrics(registry: Registry, cases: Sequence[Case]) -> list[str]:
    """Names of the usual metrics whose needs the cases meet, in the order in which they are registered."""
    offered = registry.metrics.named()
    return [name for name, metric in offered.items() if metric.usual and not metric.lacking(cases)]
