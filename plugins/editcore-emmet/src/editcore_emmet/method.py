"""EMMET: the least change in the norm of C′ = λC + μI under which every key has its value, Δ = R (Kᵀ C′⁻¹ K)⁻¹ Kᵀ C′⁻¹.

Gupta et al. 2024, arXiv:2403.14236. Its code adds γI to the matrix inverted, so that the constraints hold nearly; with

    (Kᵀ C′⁻¹ K + γI)⁻¹ Kᵀ C′⁻¹ = Kᵀ (KKᵀ + γC′)⁻¹

that is MEMIT with the weight γλ (and γμ on the size of the update), and γ = 0 is ROME for many keys at once.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from editcore_emmet.hparams import SLACK, EmmetHparams
from editcore_hooks import EditRequest, Location, State, Update, UsageError
from editcore_keyvalue.default_lambda import default_lambda
from editcore_keyvalue.joint import edited_layers, joint_update, second_moment_system

if TYPE_CHECKING:
    from editcore_hooks import Session


def compute(
    session: "Session", requests: Sequence[EditRequest], location: Location, state: State, hparams: EmmetHparams
) -> Update:
    """One update of all `requests`, from the current model."""
    layers = edited_layers(location, "EMMET")
    if hparams.slack == 0 and hparams.context_spread:
        message = "without slack EMMET cannot spare how keys differ from context to context: their differences sum to 0"
        raise UsageError(message, hint="pass --set context_spread=false, or a slack above 0")
    own = hparams.mom2_weight
    ordinary = own if own is not None else default_lambda(session.anatomy.mlp_width) / (hparams.slack or SLACK)  # λ
    weight, add = hparams.slack * ordinary, hparams.norm_weight / ordinary
    system, notes, assets = second_moment_system(session, layers, hparams, weight, state, add)
    return joint_update(
        session, requests, location, hparams, system, "EMMET", notes={**notes, "mom2_weight": ordinary}, assets=assets
    )
