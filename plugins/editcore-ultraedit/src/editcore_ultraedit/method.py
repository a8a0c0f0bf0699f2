"""UltraEdit: Δ = Vᵀ (HHᵀ + ρI)⁻¹ H with vᵢ = −η ‖ĥᵢ‖² ĝᵢ, one row a token of the targets.

Gu et al. 2025, arXiv:2505.14679. ĥ and ĝ are input and output gradient, normalised over every edit so far; H is not.
Here in its dual form: a system as large as there are tokens, where the published one is as large as the module is wide.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from editcore_hooks import EditRequest, Location, LowRank, Site, State, Update, UsageError
from editcore_keyvalue.system import Preserved, right_factor
from editcore_ultraedit.features import Features, features
from editcore_ultraedit.hparams import UltraEditHparams
from editcore_ultraedit.normaliser import Moments, increment, together

if TYPE_CHECKING:
    from editcore_hooks import Session


def compute(
    session: "Session", requests: Sequence[EditRequest], location: Location, state: State, hparams: UltraEditHparams
) -> Update:
    """One update of all `requests`. Raises `UsageError` without requests or sites, and for one token alone."""
    if not requests or not location.sites:
        raise UsageError("there is nothing to edit", hint="give at least one request, and --set layers=…")
    for site in location.sites:
        session.anatomy.path(site)
    found, loss = features(session, requests, location.sites, hparams.tokens == "all", hparams.eos)
    ordered = list(found.items())
    own: dict[str, Moments] = {}
    for shape in dict.fromkeys(shape_of(each) for _, each in ordered):
        own[shape] = together(Moments.of(each.x) for _, each in ordered if shape_of(each) == shape)
    before: dict[str, Moments] = state.value or {}
    known = {shape: moments.plus(before[shape]) if shape in before else moments for shape, moments in own.items()}
    if any(float(moments.count) < 2 for moments in known.values()):
        message = "a single token at a single place has no spread to be normalised by: the update would be zero"
        raise UsageError(message, hint="edit more facts at once, or more layers: --set layers=[3,4]")
    updates: dict[Site, LowRank] = {}
    norms: dict[str, float] = {}
    for site, each in ordered:
        updates[site] = step(each, known[shape_of(each)], hparams.lr, hparams.ridge)
        size = (updates[site].out.T @ updates[site].out * (updates[site].in_ @ updates[site].in_.T)).sum()
        norms[str(site)] = float(size.clamp(min=0).sqrt() / session.anatomy.weight(site).float().norm())
    notes = {"loss": loss, "tokens": len(ordered[0][1].h), "relative_norm": norms}
    return Update(tensors=updates, state_increment=increment(own), notes=notes)


def shape_of(found: Features) -> str:
    """`INxOUT`: modules of one shape share their normaliser."""
    return f"{found.h.shape[1]}x{found.g.shape[1]}"


def step(found: Features, moments: Moments, lr: float, ridge: float) -> LowRank:
    """Δ = Vᵀ Aᵀ with A = (HᵀH + ρI)⁻¹ Hᵀ (in, T)."""
    width = found.h.shape[1]
    normalised = moments.normalised(found.x)  # (T, in + out)
    h, g = normalised[:, :width], normalised[:, width:]
    v = -lr * h.square().sum(1, keepdim=True) * g  # (T, out)
    a = right_factor(found.h.T, Preserved(ridge))  # (in, T)
    return LowRank(v.T.float().contiguous(), a.T.float().contiguous())
