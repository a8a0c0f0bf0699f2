"""How much of the published amounts: the least that makes the model give the new answer.

The paper's λ₁ = 1 and λ₂ = 8 were chosen on BERT. In a decoder a unit may be a hundred times as large at some tokens of
every text as it is at the fact's, so that eight times its value there is the end of all other answers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import torch

from editcore.authoring.models import branch, target_logits
from editcore_hooks import EditRequest, LowRank, Site

if TYPE_CHECKING:
    from editcore_hooks import Session

SCALES: Final = tuple(2.0**-i for i in range(5, -1, -1))
"""Shares of λ₁ and λ₂ that are tried, ascending: 1/32 to 1."""

Updates = Mapping[Site, LowRank]


@torch.no_grad()
def least_scale(
    session: "Session", request: EditRequest, target: Sequence[int], updates: Callable[[float], Updates]
) -> float:
    """The first of SCALES with which every token of `target` is the likeliest after the prompt; if there is none, that
    which makes the target likeliest."""
    prompt = session.encode(request).prompt_ids
    likelihood: dict[float, float] = {}
    for scale in SCALES:
        with branch(session.anatomy, updates(scale)):
            found = target_logits(session.model, [(prompt, tuple(target))])
        if bool((found.logits.argmax(-1) == found.labels).all()):
            return scale
        logprobs = found.logits.float().log_softmax(-1)  # (n, V)
        likelihood[scale] = float(logprobs.gather(1, found.labels[:, None]).sum())
    return max(likelihood, key=likelihood.__getitem__)
