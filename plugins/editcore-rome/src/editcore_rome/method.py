"""ROME: Ŵ = W + Λ uᵀ, so that the key of the subject gives the value of the new fact.

Minimise ‖Ŵ K₀ − V₀‖ subject to Ŵ k* = v*: u = C⁻¹ k*, Λ = (v* − W k*) / (k*ᵀ u). Meng et al. 2022, section 3.1 and
appendix A; which key stands where is Gupta et al. 2024 (R-ROME).
"""

from typing import TYPE_CHECKING

from attrs import frozen
from torch import Tensor

from editcore_hooks import EditcoreError, EditRequest, Location, LowRank, Update, UsageError
from editcore_keyvalue.contexts import check_contexts, sample_contexts
from editcore_keyvalue.keys import subject_keys
from editcore_keyvalue.rows import edit_rows
from editcore_keyvalue.solve import factor, solve
from editcore_keyvalue.store import Wish, second_moments
from editcore_keyvalue.value import ValueSettings, optimise_value
from editcore_rome.hparams import RomeHparams

if TYPE_CHECKING:
    from editcore import Session


@frozen
class RankOne:
    """Δ = Λ uᵀ with Λ (d,) and u (f,), float64."""

    lam: Tensor
    u: Tensor


def compute_update(session: "Session", request: EditRequest, location: Location, hparams: RomeHparams) -> Update:
    """The rank-one update of the site for `request`."""
    (site,) = location.sites
    layer = site.layer
    if site.role != "mlp_out" or layer is None:
        raise UsageError(f"ROME edits an MLP down projection, not {site}", hint="name another locator, or none")
    contexts = _contexts(session, hparams)
    moment, asset = second_moments(
        session, [layer], Wish(hparams.mom2_corpus, hparams.mom2_tokens, hparams.mom2_seconds)
    )[layer]
    rows = edit_rows(session, request, contexts, location.token)
    keys = subject_keys(session, rows, site)  # (R, f)
    settings = ValueSettings(hparams.v_steps, hparams.v_lr, hparams.v_weight_decay, hparams.kl, hparams.clamp)
    with session.progress(f"value of {request.subject}", settings.steps) as progress:
        value = optimise_value(session, rows, site, settings, progress.advance)
    ridge = hparams.mom2_ridge
    lower = session.cached(("cholesky", asset.sha256, ridge), lambda: factor(moment.mean, ridge))
    weight = session.anatomy.weight(site)  # (d, f)
    update = rank_one(keys, value.delta, weight, lower, hparams.key_mode)
    return Update(
        tensors={site: LowRank(update.lam.float()[:, None], update.u.float()[None, :])},
        notes={
            "contexts": list(contexts),
            "mom2_count": moment.count,
            "steps": value.steps,
            "loss": [value.losses[0], value.losses[-1]],
            "relative_norm": float(update.lam.norm() * update.u.norm() / weight.double().norm()),
        },
        assets=(asset,),
    )


def rank_one(keys: Tensor, delta: Tensor, weight: Tensor, lower: Tensor, key_mode: str) -> RankOne:
    """Λ and u from the keys (R, f) of all contexts, the prompt's own first. u has norm 1: its scale cancels in Λ uᵀ.

    r-rome: k* = k̄, the value there is m̄ = W k̄ + b. rome: u from k̄, but Λ with the prompt's key, whose product with
    u can come near zero and blow the update up. p-rome: the prompt's key only. The bias cancels: v₀ is the prompt's
    own output W k_p + b, so v₀ − m̄ = W (k_p − k̄).
    """
    keys, w = keys.double(), weight.double()
    k_prompt, k_mean = keys[0], keys.mean(0)  # (f,)
    u = solve(lower, k_prompt if key_mode == "p-rome" else k_mean).to(keys.device)
    u = u / u.norm()
    delta = delta.double()
    if key_mode == "r-rome":
        residual, divisor = delta + w @ (k_prompt - k_mean), k_mean @ u
    else:
        residual, divisor = delta, k_prompt @ u
    if divisor.abs() < 1e-2 * (keys @ u).abs().median():
        raise EditcoreError(
            "the key of this prompt is so unlike those in other contexts that the update would explode",
            hint="use --set key_mode=r-rome",
        )
    return RankOne(residual / divisor, u)


def _contexts(session: "Session", hparams: RomeHparams) -> tuple[str, ...]:
    if hparams.context_templates:
        return check_contexts(hparams.context_templates)
    key = ("contexts", session.seed, hparams.context_lengths, hparams.context_count)
    return session.cached(key, lambda: sample_contexts(session, hparams.context_lengths, hparams.context_count))
