"""MEMIT: Δ = R Kᵀ (λC + KKᵀ)⁻¹ at each of several layers, R a share of what is missing at the last of them.

Meng et al. 2023, arXiv:2210.07229, equation 14 and algorithm 1. With keys H of earlier edits λC + HHᵀ is spared.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from editcore_hooks import EditRequest, Location, State, Update
from editcore_keyvalue.default_lambda import default_lambda
from editcore_keyvalue.joint import edited_layers, joint_update, second_moment_system
from editcore_memit.hparams import MemitHparams

if TYPE_CHECKING:
    from editcore_hooks import Session


def compute(
    session: "Session", requests: Sequence[EditRequest], location: Location, state: State, hparams: MemitHparams
) -> Update:
    """One update of all `requests`, from the current model."""
    layers = edited_layers(location, "MEMIT")
    weight = hparams.mom2_weight if hparams.mom2_weight is not None else default_lambda(session.anatomy.mlp_width)
    system, notes, assets = second_moment_system(session, layers, hparams, weight, state)
    return joint_update(
        session, requests, location, hparams, system, "MEMIT", notes={**notes, "mom2_weight": weight}, assets=assets
    )
