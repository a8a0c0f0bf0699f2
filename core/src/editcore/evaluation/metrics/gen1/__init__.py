"""The protocol gen-1: the model answers by itself and ends its answer by itself."""

from typing import Final

from editcore.evaluation.engine.dialogue import DialogueMetric
from editcore.evaluation.metrics.gen1 import fact, locality, portability, truth

METRICS: Final[list[type[DialogueMetric]]] = [
    *fact.METRICS,
    *portability.METRICS,
    *locality.METRICS,
    *truth.METRICS,
]
