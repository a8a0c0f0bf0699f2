"""The built-in metrics. Each has a version: a changed definition is a new name, so two figures can be compared."""

from typing import Final

from editcore.evaluation import cost, damage, generated, locality, perplexity, portability, teacher_forced
from editcore.evaluation.asking import AskingMetric
from editcore.evaluation.fluency import NgramEntropy
from editcore.evaluation.preference import PARTS, PreferenceScore, harmonic

__all__ = ["METRICS", "harmonic"]

# The usual ones are computed, and shown, in this order.
METRICS: Final[list[type[AskingMetric]]] = [
    *teacher_forced.METRICS,
    *generated.METRICS,
    *PARTS,
    PreferenceScore,
    *locality.METRICS,
    *portability.METRICS,
    NgramEntropy,
    *perplexity.METRICS,
    *damage.METRICS,
    *cost.METRICS,
]
