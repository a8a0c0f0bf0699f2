"""Search space of `editcore tune`: share of free directions of the keys, and weight of the update's own size."""

from collections.abc import Mapping
from typing import Any

from editcore_hooks import Tunable
from editcore_keyvalue.search_space import GENTLE, LONG, spread_space


def space(model: Mapping[str, Any]) -> Tunable:
    """Shares and not thresholds: a threshold means nothing without the scale of a model's activations."""
    steps = {"v_lr": 0.5, "v_steps": 20, **GENTLE}
    tried = [(0.7, 0.1), (0.7, 0.01), (0.7, 1.0), (0.9, 0.1), (0.9, 1.0), (0.9, 10.0), (0.5, 0.01), (0.5, 0.1)]
    first, *others = ({**steps, "nullspace_share": share, "l2": l2} for share, l2 in tried)
    return spread_space(model, [first, {**first, **LONG}, *others])
