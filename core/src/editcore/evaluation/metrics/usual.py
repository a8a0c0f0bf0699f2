"""The metrics of an evaluation for which none was named, or only a protocol: those whose needs the cases meet."""

from collections.abc import Sequence
from typing import Final

from editcore.plugins.registry import Registry
from editcore_hooks import Case

GEN1: Final = "gen-1"
"""The protocol in which the model answers by itself."""


def usual_metrics(registry: Registry, cases: Sequence[Case]) -> list[str]:
    """Names of the usual metrics whose needs the cases meet, in the order in which they are registered."""
    offered = registry.metrics.named()
    return [name for name, metric in offered.items() if metric.usual and not metric.lacking(cases)]


def named_metrics(registry: Registry, cases: Sequence[Case], names: Sequence[str]) -> list[str]:
    """The names, `gen-1` replaced by the metrics of that protocol, in its usual form, whose needs the cases meet."""
    found: list[str] = []
    for name in names:
        found += _of_gen1(registry, cases) if name == GEN1 else [name]
    return list(dict.fromkeys(found))


def _of_gen1(registry: Registry, cases: Sequence[Case]) -> list[str]:
    from editcore.evaluation.metrics.gen1.asking import Gen1

    return [
        name
        for name, metric in registry.metrics.named().items()
        if issubclass(metric, Gen1) and metric.form == "usual" and not metric.lacking(cases)
    ]
