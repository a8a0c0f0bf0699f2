"""The built-in metrics. Each has a version: a changed definition is a new name, so two figures can be compared."""

from typing import Final

from editcore.evaluation.engine.dialogue import DialogueMetric
from editcore.evaluation.metrics import cost, damage, gen1, generated, locality, perplexity, portability, teacher_forced
from editcore.evaluation.metrics.fluency import NgramEntropy
from editcore.evaluation.metrics.preference import PARTS, PreferenceScore, harmonic

__all__ = ["METRICS", "harmonic"]

# The usual ones are computed, and shown, in this order.
METRICS: Final[list[type[DialogueMetric]]] = [
    *teacher_forced.METRICS,
    *generated.METRICS,
    *gen1.METRICS,
    *PARTS,
    PreferenceScore,
    *locality.METRICS,
    *portability.METRICS,
    NgramEntropy,
    *perplexity.METRICS,
    *damage.METRICS,
    *cost.METRICS,
]
