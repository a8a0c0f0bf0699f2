"""AlphaEdit: Δ = R K̃ᵀ (K̃K̃ᵀ + H̃H̃ᵀ + L₂ I)⁻¹ with K̃ = PK, H̃ = PH, P onto the directions ordinary keys hardly use.

Fang et al. 2025, arXiv:2410.02355, equation 13, in its symmetric form: R Kᵀ P [P(HHᵀ + KKᵀ) + L₂ I]⁻¹, as published, is
the same and needs a general inverse. Values and layers are MEMIT's.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from editcore_alphaedit.hparams import AlphaEditHparams
from editcore_hooks import Asset, EditRequest, Location, State, Update
from editcore_keyvalue.joint import earlier, edited_layers, joint_update
from editcore_keyvalue.notices import moment_notes
from editcore_keyvalue.nullspace import NullSpace, eigenbasis
from editcore_keyvalue.store import MomentRequest, second_moments
from editcore_keyvalue.system import Preserved

if TYPE_CHECKING:
    from editcore_hooks import Session


def compute(
    session: "Session", requests: Sequence[EditRequest], location: Location, state: State, hparams: AlphaEditHparams
) -> Update:
    """One update of all `requests`, from the current model."""
    layers = edited_layers(location, "AlphaEdit")
    spaces, statistics, assets = free_directions(session, layers, hparams)

    def system(layer: int) -> Preserved:
        return Preserved(hparams.l2, history=earlier(state, layer, hparams), projector=spaces[layer])

    notes = {**statistics, "free_directions": {str(layer): space.free for layer, space in spaces.items()}}
    return joint_update(session, requests, location, hparams, system, "AlphaEdit", notes=notes, assets=assets)


def free_directions(
    session: "Session", layers: Sequence[int], hparams: AlphaEditHparams
) -> tuple[dict[int, NullSpace], dict[str, Any], tuple[Asset, ...]]:
    """The projector of each layer, notes on the statistics, and the assets that they were made of."""
    spaces, assets = {}, []
    moments = second_moments(session, layers, MomentRequest.of(hparams))
    for layer, (moment, asset) in moments.items():
        basis, kept = eigenbasis(session, layer, moment.mean, asset)
        share = hparams.nullspace_share
        if share is None:
            spaces[layer] = basis.below(hparams.nullspace_threshold)
        else:
            spaces[layer] = basis.smallest(max(1, round(share * len(basis.values))))
        assets += [asset, kept]
    return spaces, moment_notes({layer: moment for layer, (moment, _) in moments.items()}), tuple(assets)
