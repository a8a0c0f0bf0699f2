"""What a method notes of its training, kept with an edit: its loss at every step, and what it learnt to say.

A patch's notes may have `curves`, by name of a loss a value a step, and `distributions`, of each request the first and
the last as `tokens` with their probabilities `with` and `without` a context.
"""

from collections.abc import Mapping
from typing import Any

from editcore.authoring.patches import Patch


def curves_of(patch: Patch) -> Mapping[str, list[float]]:
    """The losses of a patch's training by name, to five digits; none where its method notes none."""
    for note in patch.objects("notes"):
        curves = note.get("curves")
        if isinstance(curves, Mapping):
            return {str(name): [float(f"{value:.5g}") for value in values] for name, values in curves.items()}
    return {}


def learnt_of(patch: Patch) -> Mapping[str, Any] | None:
    """The last distributions of the first request, with and without a context; None where there are none."""
    for note in patch.objects("notes"):
        of_first = next(iter(note.get("distributions") or ()), None)
        if of_first:
            last: Mapping[str, Any] = of_first[-1]
            return last
    return None
