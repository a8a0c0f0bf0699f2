"""Search space of `editcore tune`: how far the constraints yield to ordinary keys, the ridge, and the bound."""

from collections.abc import Mapping
from typing import Any

from editcore_emmet.hparams import SLACK
from editcore_hooks import Tunable
from editcore_keyvalue.default_lambda import default_lambda
from editcore_keyvalue.search_space import GENTLE, LONG, PUBLISHED, spread_space


def space(model: Mapping[str, Any]) -> Tunable:
    """One layer, as published; what counts is γλ, so that γ stays as it is."""
    weight = default_lambda(int(model["mlp_width"])) / SLACK
    steps = {"v_lr": 0.5, "v_steps": 20, "slack": SLACK}
    spread = {"context_spread": True, "mom2_ridge": 0.01}
    plain = {"context_spread": False, "mom2_ridge": 1e-6}
    first, *gentle = ({**steps, **GENTLE, **spread, "mom2_weight": weight * factor} for factor in (1.0, 0.1, 10.0))
    other = [
        {**steps, **bound, **ridge, "mom2_weight": weight} for bound, ridge in ((GENTLE, plain), (PUBLISHED, spread))
    ]
    return spread_space(
        model,
        [first, {**first, **LONG}, *gentle, *other, {**steps, **PUBLISHED, **plain, "mom2_weight": 10 * weight}],
        counts=(1,),
    )
