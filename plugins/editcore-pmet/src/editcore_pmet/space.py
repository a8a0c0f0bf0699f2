"""What `editcore tune` tries: weights, step size and divergence of the two values, and the plain recipe."""

from collections.abc import Mapping
from typing import Any

from editcore_hooks import Tunable
from editcore_keyvalue.space import GENTLE, PUBLISHED, spread_space
from editcore_keyvalue.weight import default_weight


def space(model: Mapping[str, Any]) -> Tunable:
    """The first recipe is the one by which places are compared."""
    weight = default_weight(int(model["mlp_width"]))
    spread = {"v_steps": 30, "context_spread": True, "mom2_ridge": 0.01}
    quick, slow = {"v_lr": 0.5, "kl": 0.0625}, {"v_lr": 0.2, "kl": 1.0}
    gentle = [{**spread, **GENTLE, **quick, "mom2_weight": weight * factor} for factor in (1.0, 0.1, 10.0)]
    plain = {**slow, **PUBLISHED, "v_steps": 30, "context_spread": False, "mom2_ridge": 1e-6, "mom2_weight": 4 * weight}
    return spread_space(model, [*gentle, {**spread, **GENTLE, **slow, "mom2_weight": weight}, plain])
