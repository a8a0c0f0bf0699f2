"""Knowledge Neurons: find the units that express a fact, and rewrite their value vectors.

Dai et al. 2022, arXiv:2104.08696, section 5: vᵢ ← vᵢ − λ₁ e(old) + λ₂ e(new), where vᵢ is column i of the down
projection W (d, f), and the embeddings are given the norm of vᵢ. All columns of a layer get the same direction, so
that Δ = g sᵀ with g = −λ₁ ê(old) + λ₂ ê(new) and sᵢ = sign(aᵢ) ‖vᵢ‖, in the base model, on the units chosen, 0
elsewhere. The paper has no sign: it reads models whose units are above zero. In a gated MLP half of them are below, and
there aᵢ vᵢ would add the old answer and take the new one away.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor
from torch.nn.functional import normalize

from editcore.authoring.models import Place, Tap, Trace, encode_request, forward, pad
from editcore_hooks import EditcoreError, EditRequest, Location, LowRank, Site, Update, UsageError
from editcore_keyvalue.contexts import check_contexts, in_context, sample_contexts
from editcore_kn.attribution import attributions
from editcore_kn.hparams import KnHparams
from editcore_kn.scale import least_scale
from editcore_kn.selection import Unit, common, shared, strong

if TYPE_CHECKING:
    from editcore_hooks import Session


def compute(session: "Session", request: EditRequest, location: Location, hparams: KnHparams) -> Update:
    """The update of the value vectors of the fact's units. Raises `UsageError`, and `EditcoreError` without units."""
    wrong = [site for site in location.sites if site.role != "mlp_out"]
    if wrong:
        raise UsageError(
            f"the units of KN are inputs of an MLP's down projection, not of {wrong[0]}",
            hint="choose another locator, or leave it out",
        )
    asked = prompts_of(session, request, hparams)
    target = encode_request(session.tokenizer, request).target_ids
    old = old_answer(session, request)
    others = [
        attrs.evolve(request, subject=other, target_true=None) for other in hparams.others if other != request.subject
    ]
    own, theirs = [], []
    with session.progress("attribution", len(asked) + len(others)) as progress:
        for one in asked:
            own.append(strong_units(session, one, old, location, hparams))
            progress.advance()
        for other in others:
            key = ("kn", other.template, other.rendered().text, location.sites, hparams.steps, hparams.threshold)
            theirs.append(session.cached(key, partial(_base_units, session, other, location, hparams), base=True))
            progress.advance()
    taken = common(theirs, hparams.common)
    chosen = shared([units - taken for units in own], hparams.share, hparams.fewest, hparams.most)
    if taken and not chosen.units:
        session.say(f"no unit belongs to {request.subject} alone; units that other subjects share are changed")
        taken, chosen = set(), shared(own, hparams.share, hparams.fewest, hparams.most)
    if not chosen.units:
        raise EditcoreError(
            f"no unit is shared by the prompts of {request.subject}", hint="lower the threshold: --set threshold=0.1"
        )
    by_site: dict[Site, list[int]] = {}
    for i, unit in chosen.units:
        by_site.setdefault(location.sites[i], []).append(unit)
    direction = answer_direction(session, target, old, hparams) if hparams.operation == "replace" else None
    signs = _signs(session, request, tuple(by_site))

    def updates(scale: float) -> dict[Site, LowRank]:
        made = {}
        for site, units in by_site.items():
            norms = session.cached(("norms of the base", site), partial(_base_norms, session, site), base=True)
            sizes = scale * signs[site] * norms
            made[site] = value_update(session.anatomy.weight(site), units, direction, sizes, hparams)
        return made

    scale = hparams.scale or 1.0
    if hparams.scale is None and direction is not None:
        scale = least_scale(session, request, target, updates)
    notes = {
        "scale": scale,
        "units": [[str(location.sites[i]), unit] for i, unit in chosen.units],
        "share": chosen.share,
        "prompts": len(asked),
        "left to other subjects": len(taken),
    }
    return Update(tensors=updates(scale), notes=notes)


def strong_units(
    session: "Session", request: EditRequest, answer: Sequence[int], location: Location, hparams: KnHparams
) -> set[Unit]:
    """Units that account for much of the probability of `answer` after the request's prompt."""
    prompt = encode_request(session.tokenizer, request).prompt_ids
    found = attributions(session, prompt, answer, location.sites, hparams.steps, hparams.rows_per_batch)
    return strong(found, hparams.threshold)


def _base_units(session: "Session", other: EditRequest, location: Location, hparams: KnHparams) -> set[Unit]:
    """The units of the base for another subject: found once, independent of edits in between."""
    with session.at_base():
        return strong_units(session, other, old_answer(session, other), location, hparams)


def prompts_of(session: "Session", request: EditRequest, hparams: KnHparams) -> list[EditRequest]:
    """The request in other words, if such are given, else in sampled contexts; itself first."""
    if hparams.prompts:
        check_contexts(hparams.prompts)
        return [request, *(attrs.evolve(request, prompt=prompt) for prompt in hparams.prompts)]
    key = ("contexts", session.seed, hparams.context_lengths, hparams.context_count)
    contexts = session.cached(key, lambda: sample_contexts(session, hparams.context_lengths, hparams.context_count))
    return [in_context(request, context) for context in contexts]


@torch.no_grad()
def old_answer(session: "Session", request: EditRequest) -> tuple[int, ...]:
    """Token ids of `target_true`, or of the model's next token."""
    if request.target_true:
        return encode_request(session.tokenizer, attrs.evolve(request, target_new=request.target_true)).target_ids
    ids = encode_request(session.tokenizer, request).prompt_ids
    end = torch.tensor([len(ids) - 1], device=session.device)
    logits = forward(session.model, pad([ids]).to(session.device), (torch.zeros_like(end), end))  # (1, V)
    return (int(logits[0].argmax()),)


def answer_direction(session: "Session", new: Sequence[int], old: Sequence[int], hparams: KnHparams) -> Tensor:
    """g = −λ₁ ê(old) + λ₂ ê(new), (d,): what the head reads as less of the old answer and more of the new."""
    head = session.anatomy.weight(Site("head"))  # (V, d)
    return hparams.new * _unit(head, new) - hparams.old * _unit(head, old)


@torch.no_grad()
def _base_norms(session: "Session", site: Site) -> Tensor:
    """‖vᵢ‖ (f,) without any patch: a unit that many edits meet would grow by λ₂ with each of them, and overflow."""
    with session.at_base():
        norms: Tensor = session.anatomy.weight(site).float().norm(dim=0)
    return norms


@torch.no_grad()
def _signs(session: "Session", request: EditRequest, sites: Sequence[Site]) -> dict[Site, Tensor]:
    """sign(aᵢ), (f,) of each site: of the units where the answer to the request begins."""
    prompt = encode_request(session.tokenizer, request).prompt_ids
    taps: dict[Place, Tap] = {site: Tap(input=True) for site in sites}
    with Trace(session.anatomy, taps) as trace:
        forward(session.model, pad([prompt]).to(session.device))
    return {site: trace.input(site)[0, -1].float().sign() for site in sites}


def value_update(
    weight: Tensor, units: Sequence[int], direction: Tensor | None, sizes: Tensor, hparams: KnHparams
) -> LowRank:
    """Δ (d, f) on the columns `units` of `weight`: g sᵀ where a direction is given, else ∓ the columns themselves.

    `sizes` (f,) are the values that s takes.
    """
    chosen = torch.tensor(units, device=weight.device)
    if direction is not None:
        s = torch.zeros(weight.shape[1], device=weight.device)
        s[chosen] = sizes[chosen].to(s)
        return LowRank(direction[:, None], s[None, :])
    columns = weight[:, chosen].float()  # (d, k)
    pick = torch.zeros(len(units), weight.shape[1], device=weight.device)  # (k, f)
    pick[torch.arange(len(units)), chosen] = 1.0
    return LowRank(-columns if hparams.operation == "suppress" else columns, pick)


def _unit(head: Tensor, tokens: Sequence[int]) -> Tensor:
    """The direction of the mean of unit vectors of an answer's tokens, each once, (d,)."""
    return normalize(normalize(head[sorted(set(tokens))].float(), dim=1).mean(0), dim=0)
