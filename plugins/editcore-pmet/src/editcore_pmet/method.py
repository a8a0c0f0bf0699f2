"""PMET: Δ = R Kᵀ (λC + KKᵀ)⁻¹ as in MEMIT, where R is what the MLP's output alone has still to gain.

Li et al. 2024, arXiv:2308.08742. At the last layer one change is found for what attention puts out and one for what the
MLP puts out, both at the subject's last token; the first takes up what is no matter of the MLP, and is dropped.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from editcore_hooks import EditRequest, Location, Site, State, Update
from editcore_keyvalue.default_lambda import default_lambda
from editcore_keyvalue.fitting import value_settings
from editcore_keyvalue.joint import edited_layers, joint_update, second_moment_system
from editcore_keyvalue.spreading import linear, root
from editcore_pmet.hparams import PmetHparams

if TYPE_CHECKING:
    from editcore_hooks import Session


def compute(
    session: "Session", requests: Sequence[EditRequest], location: Location, state: State, hparams: PmetHparams
) -> Update:
    """One update of all `requests`, from the current model."""
    layers = edited_layers(location, "PMET")
    weight = hparams.mom2_weight if hparams.mom2_weight is not None else default_lambda(session.anatomy.mlp_width)
    system, notes, assets = second_moment_system(session, layers, hparams, weight, state)
    return joint_update(
        session,
        requests,
        location,
        hparams,
        system,
        "PMET",
        sites=(Site("attn_out", layers[-1]), Site("mlp_out", layers[-1])),
        settings=evolve(value_settings(hparams), nll=hparams.nll),
        share=root if hparams.spreading == "root" else linear,
        notes={**notes, "mom2_weight": weight},
        assets=assets,
    )
