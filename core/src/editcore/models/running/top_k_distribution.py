"""A next-token distribution in a few numbers: its likeliest tokens, and all others together."""

from collections.abc import Sequence
from typing import Final

import torch
from attrs import frozen
from torch import Tensor

LIKELIEST: Final = 256


@frozen(eq=False)
class TopKDistribution:
    """Distributions at n positions: ids (n, K) int32 and logprobs (n, K) float32 of the K likeliest tokens, and the
    log-probability of the rest together, (n,), -inf where there is none."""

    ids: Tensor
    logprobs: Tensor
    rest: Tensor


def top_k(logprobs: Tensor) -> TopKDistribution:
    """Take log-probabilities (n, V) into CPU memory."""
    top, ids = logprobs.topk(min(LIKELIEST, logprobs.shape[-1]), dim=-1)  # (n, K)
    return TopKDistribution(ids.to("cpu", torch.int32), top.cpu(), _rest(logprobs, ids).cpu())


def divergence(before: TopKDistribution, logprobs: Tensor) -> Tensor:
    """KL(before ‖ now) in nats at each of n positions, (n,), of log-probabilities (n, V) now.

    Over the K tokens that were likeliest before and the rest as one: never more than over all tokens, and the same
    where the vocabulary has no more than K.
    """
    ids = before.ids.to(logprobs.device, torch.int64)
    p = torch.cat([before.logprobs, before.rest[:, None]], dim=1).to(logprobs.device)  # (n, K + 1)
    q = torch.cat([logprobs.gather(-1, ids), _rest(logprobs, ids)[:, None]], dim=1)
    terms = torch.where(p > -torch.inf, p.exp() * (p - q), 0.0)
    return terms.sum(1).clamp(min=0)


def concatenated(distributions: Sequence[TopKDistribution]) -> TopKDistribution:
    """Positions of several put one after another."""
    return TopKDistribution(
        *(torch.cat([getattr(each, name) for each in distributions]) for name in ("ids", "logprobs", "rest"))
    )


def _rest(logprobs: Tensor, ids: Tensor) -> Tensor:
    # By logsumexp and not as 1 - Σ: where the likeliest hold nearly everything that would be rounding error.
    return logprobs.scatter(-1, ids, -torch.inf).logsumexp(-1)
