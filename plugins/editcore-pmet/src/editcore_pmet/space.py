"""Search space of `editcore tune`: weights, step size and divergence of the two values, and the plain recipe."""

from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve

from editcore_hooks import Tunable
from editcore_keyvalue.default_lambda import default_lambda
from editcore_keyvalue.search_space import GENTLE, PUBLISHED, spread_space

FAR: Final[Mapping[str, Any]] = {**GENTLE, "clamp": 32.0}
"""The bound is in norms of what the MLP puts out, often a thirtieth of the residual stream that it has to move."""


def space(model: Mapping[str, Any]) -> Tunable:
    """Runs of two and three layers; the first recipe is the one by which they are compared.

    In one layer alone attention takes up most of the change, by what the MLP makes of it, and that part is dropped.
    """
    weight = default_lambda(int(model["mlp_width"]))
    spread = {"v_steps": 30, "context_spread": True, "mom2_ridge": 0.01}
    quick, slow = {"v_lr": 0.5, "kl": 0.0625}, {"v_lr": 0.2, "kl": 1.0}
    gentle = [{**spread, **FAR, **quick, "mom2_weight": weight * factor} for factor in (1.0, 0.1, 10.0)]
    plain = {**slow, **PUBLISHED, "v_steps": 30, "context_spread": False, "mom2_ridge": 1e-6, "mom2_weight": 4 * weight}
    tunable = spread_space(model, [*gentle, {**spread, **FAR, **slow, "mom2_weight": weight}, plain], counts=(2, 3))
    return evolve(tunable, places=tuple(p for p in tunable.places if len(p["layers"]) > 1) or tunable.places)
