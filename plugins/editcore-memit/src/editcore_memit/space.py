"""Search space of `editcore tune`: weights of ordinary keys by their width, more steps, and the published way."""

from collections.abc import Mapping
from typing import Any

from editcore_hooks import Tunable
from editcore_keyvalue.default_lambda import default_lambda
from editcore_keyvalue.search_space import GENTLE, LONG, PUBLISHED, spread_space


def space(model: Mapping[str, Any]) -> Tunable:
    """The first recipe is the one by which places are compared."""
    weight = default_lambda(int(model["mlp_width"]))
    steps = {"v_lr": 0.5, "v_steps": 20}
    gentle = {**steps, **GENTLE, "context_spread": True, "mom2_ridge": 0.01}
    published = {**steps, **PUBLISHED, "context_spread": False, "mom2_ridge": 1e-6}
    weights = [weight * factor for factor in (1.0, 0.1, 10.0)]
    first, *others = ({**gentle, "mom2_weight": w} for w in weights)
    return spread_space(model, [first, {**first, **LONG}, *others, {**published, "mom2_weight": 10 * weight}])
