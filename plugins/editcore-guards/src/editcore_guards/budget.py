"""A budget for stacks of edits: a patch that would exceed it is not applied, and the error names the edit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import frozen

from editcore import Session
from editcore.authoring.assets import Identity
from editcore.authoring.files import short
from editcore.authoring.models import sample, target_logprobs
from editcore.authoring.patches import Checkpoint, Patch, PatchHeader
from editcore.authoring.settings import from_settings
from editcore_guards.dense import base_weight, deltas_by_key, total_norm
from editcore_guards.hparams import Budget
from editcore_hooks import RequirementNotMetError

if TYPE_CHECKING:
    from torch import Tensor

VARIABLE: Final = "EDITCORE_BUDGET"


@frozen
class Spent:
    """The cost of a stack: the relative change of each tensor in norm, and nats a token on texts of the base."""

    norms: dict[str, float]
    kl: float | None


def read_budget(text: str) -> Budget:
    """`norm=0.5,kl=0.1`. Raises `UsageError`."""
    return from_settings(Budget, [part.strip() for part in text.split(",")])


def require_within(target: Any, patch: Patch, budget: Budget) -> None:
    """Raises `RequirementNotMetError` when `patch`, on top of what `target` carries, would overspend the budget."""
    if patch.kind != "weights" or not isinstance(target, Session | Checkpoint):
        return
    if isinstance(target, Session):
        # a sequence puts its first patches on again for each further edit
        spent = target.cached(("budget", budget, patch.patch_id), lambda: _in_memory(target, patch, budget))
        present: Sequence[Patch | PatchHeader] = target.live.patches
    else:
        # also those of the same command, which are announced before any is written
        present = target.expected
        spent = Spent(_norms(target, present, patch), None)
    if budget.norm is not None and spent.norms:
        key = max(spent.norms, key=spent.norms.__getitem__)
        if spent.norms[key] > budget.norm:
            _refuse(present, patch, f"{key} would change by {spent.norms[key]:.3g} of its norm", budget.norm)
    if budget.kl is not None and spent.kl is not None and not spent.kl <= budget.kl:
        _refuse(present, patch, f"the model would diverge by {spent.kl:.3g} nats a token", budget.kl)


def _refuse(present: Sequence[Patch | PatchHeader], patch: Patch, what: str, limit: float) -> None:
    first, last = sum(map(_edits, present)) + 1, sum(map(_edits, present)) + _edits(patch)
    which = f"edit {first}" if first == last else f"edits {first} to {last}"
    title = patch.about.get("title") or short(patch.patch_id)
    rest = f"stop at edit {first - 1}, or raise {VARIABLE}" if first > 1 else f"raise {VARIABLE}"
    raise RequirementNotMetError(f"{which} ({title}) would overspend the budget: {what}, of {limit:g}", hint=rest)


def _edits(patch: Patch | PatchHeader) -> int:
    """Requests that a patch was made for; one of which that is not known counts as one."""
    requests = patch.about.get("requests")
    return len(requests) if isinstance(requests, list) and requests else 1


def _in_memory(session: Session, patch: Patch, budget: Budget) -> Spent:
    norms = _norms(session.checkpoint, session.live.patches, patch)
    return Spent(norms, None if budget.kl is None else _divergence(session, patch, budget))


def _norms(checkpoint: Checkpoint, present: Sequence[Patch | PatchHeader], patch: Patch) -> dict[str, float]:
    """‖Σ δ‖ / ‖W₀‖ of the tensors that `patch` touches."""
    own = deltas_by_key(checkpoint, [patch])
    before = deltas_by_key(checkpoint, present)
    return {
        key: total_norm([*before.get(key, []), *deltas], checkpoint.entries[key].shape)
        / float(base_weight(checkpoint, key).norm())
        for key, deltas in own.items()
    }


def _divergence(session: Session, patch: Patch, budget: Budget) -> float:
    """KL(base ‖ edited) in nats a token, on texts drawn from the base: the mean of r − 1 − log r with r = p / p₀.

    Its mean is that of −log r, but no term is negative, so a few texts cannot suggest that an edit improves the model.
    """
    tokens, before = _texts_of_base(session, budget)
    session.live.add(patch)
    try:
        after = _log_likelihood(session, tokens)
    finally:
        session.live.remove(patch.patch_id)
    log_ratio = after - before  # (texts, tokens)
    return float((log_ratio.expm1() - log_ratio).mean())


def _texts_of_base(session: Session, budget: Budget) -> "tuple[Tensor, Tensor]":
    """Token ids (texts, 1 + tokens) and log p₀ (texts, tokens), kept: drawing them is dearer than scoring them."""
    length = min(budget.tokens, session.max_length - 1)
    about = {
        "seed": session.seed, "texts": budget.texts, "tokens": length,
        "dtype": session.loaded.dtype, "device": str(session.device),
    }  # fmt: skip
    identity = Identity("budget-texts", "editcore-guards", session.weights_root, about)
    asset = session.assets.find(identity)
    if asset is None:
        generator = torch.Generator().manual_seed(session.seed)
        starts = [[session.start_token]] * budget.texts
        with session.at_base():
            rows = sample(session.model, starts, length, None, generator)
            tokens = torch.tensor([[*start, *row] for start, row in zip(starts, rows, strict=True)])
            logprobs = _log_likelihood(session, tokens)
        asset = session.assets.put(identity, {"tokens": tokens, "logprobs": logprobs})
    kept = session.assets.load(asset)
    return kept["tokens"], kept["logprobs"]


def _log_likelihood(session: Session, tokens: "Tensor") -> "Tensor":
    """log p of every token but the first of each text, (texts, tokens), float64."""
    scores = target_logprobs(session.model, [(row[:1], row[1:]) for row in tokens.tolist()])
    return torch.tensor([score.logprobs for score in scores], dtype=torch.float64)
