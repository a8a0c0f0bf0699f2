"""ROME: Ŵ = W + Λ uᵀ, so that the key of the subject gives the value of the new fact.

Minimise ‖Ŵ K₀ − V₀‖ subject to Ŵ k* = v*: u = C⁻¹ k*, Λ = (v* − W k*) / (k*ᵀ u). Meng et al. 2022, section 3.1 and
appendix A; which key stands where is Gupta et al. 2024 (R-ROME), and that two can get the value, `rank_one`. With
`spare_prompt` the other tokens of the prompt are ordinary keys too, see `sparing`; with `spare_alike` also those of
other subjects in its place.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from editcore_hooks import EditRequest, Location, Update, UsageError
from editcore_keyvalue.alike import alike_keys
from editcore_keyvalue.cholesky import factor
from editcore_keyvalue.contexts import contexts_of
from editcore_keyvalue.fitting import UNCONVERGED, fit_values, value_settings
from editcore_keyvalue.notices import moment_notes, say_large
from editcore_keyvalue.ridge import ridge_of
from editcore_keyvalue.rows import edit_rows
from editcore_keyvalue.store import MomentRequest, collect, second_moments
from editcore_keyvalue.value import Value
from editcore_rome.hparams import RomeHparams
from editcore_rome.presets import default_layer
from editcore_rome.rank_one import rank_one
from editcore_rome.sparing import other_keys

if TYPE_CHECKING:
    from editcore_hooks import Session


def collect_moments(session: "Session", hparams: Sequence[RomeHparams]) -> None:
    """The second moments of all layers that these settings name, in one pass a corpus."""
    by_depth = default_layer(session.traits())
    collect(session, [(each, [by_depth if each.layer is None else each.layer]) for each in hparams])


def compute_each(
    session: "Session", requests: Sequence[EditRequest], location: Location, hparams: RomeHparams
) -> list[Update]:
    """The rank-one update of the site for each of `requests`, all from the current model."""
    (site,) = location.sites
    layer = site.layer
    if site.role != "mlp_out" or layer is None:
        raise UsageError(
            f"ROME edits an MLP down projection, not {site}", hint="choose another locator, or leave it out"
        )
    contexts = [contexts_of(session, hparams, [request]) for request in requests]
    moment, asset = second_moments(session, [layer], MomentRequest.of(hparams))[layer]
    ridge = ridge_of(moment, hparams.mom2_ridge)
    lower = session.cached(("cholesky", asset.sha256, ridge), lambda: factor(moment.mean, ridge), base=True)
    statistics = moment_notes({layer: moment}, {layer: ridge})
    weight = session.anatomy.weight(site)  # (d, f)
    values = fitted(session, requests, contexts, location, hparams)
    others = spared_keys(session, requests, location, hparams)
    updates: list[Update] = []
    for request, around, value, beside in zip(requests, contexts, values, others, strict=True):
        update = rank_one(value.keys, value.delta, weight, lower, hparams.key_mode, beside)
        notes = {
            "contexts": list(around),
            **statistics,
            "steps": value.steps,
            "loss": [value.losses[0], value.losses[-1]],
            "relative_norm": float(update.lam.norm() * update.u.norm() / weight.double().norm()),
        }
        if value.losses[-1] > UNCONVERGED:
            loss = f"{value.losses[-1]:.2f} > {UNCONVERGED}"
            session.say(f"value optimisation for {request.subject} did not converge (final loss {loss})")
        updates.append(Update(tensors={site: update.low_rank()}, notes=notes, assets=(asset,)))
    say_large(session, {layer: max(update.notes["relative_norm"] for update in updates)}, "ROME")
    return updates


def fitted(
    session: "Session",
    requests: Sequence[EditRequest],
    contexts: Sequence[Sequence[str]],
    location: Location,
    hparams: RomeHparams,
    snapshots: Collection[int] = (),
) -> list[Value]:
    """Keys and values of `requests`, each alone and in its own `contexts`."""
    (site,) = location.sites
    pairs = zip(requests, contexts, strict=True)
    edits = [edit_rows(session, request, around, location.token, eos=hparams.eos) for request, around in pairs]
    label = f"value of {requests[0].subject}" if len(requests) == 1 else f"values of {len(requests)} edits"
    return fit_values(session, edits, site, value_settings(hparams), label, snapshots)


def spared_keys(
    session: "Session", requests: Sequence[EditRequest], location: Location, hparams: RomeHparams
) -> list[Tensor] | list[None]:
    """For each request the keys (m, f) of its other tokens and of other subjects; None each where none are spared."""
    (site,) = location.sites
    if not (hparams.spare_prompt or hparams.spare_alike):
        return [None] * len(requests)
    found = [alike_keys(session, request, location.token, site, hparams.spare_alike) for request in requests]
    if not hparams.spare_prompt:
        return found
    return [torch.cat(both) for both in zip(other_keys(session, requests, location.token, site), found, strict=True)]
