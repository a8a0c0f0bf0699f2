"""The metrics that are computed where nobody names any: they say so of themselves, and what they need of the cases."""

from collections.abc import Sequence

from editcore.plugins.registry import Registry
from editcore_hooks import Case


def usual_metrics(registry: Registry, cases: Sequence[Case]) -> list[str]:
    """Names of the usual metrics whose needs the cases meet, in the order in which they are registered."""
    offered = registry.metrics.named()
    return [name for name, metric in offered.items() if metric.usual and not metric.lacking(cases)]
