"""How likely a model finds given answers, token by token."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from attrs import frozen

from editcore.models.batch import forward, pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Item = tuple[Sequence[int], Sequence[int]]
"""Ids of a prompt, ids of the target after it."""


@frozen
class TargetScore:
    """Log-probability of each target token given all before it (natural log), and whether it is the argmax."""

    logprobs: tuple[float, ...]
    hits: tuple[bool, ...]

    @property
    def sum(self) -> float:
        """Log-probability of the whole target."""
        return float(sum(self.logprobs))

    @property
    def mean(self) -> float:
        """Log-probability a token."""
        return self.sum / len(self.logprobs)


def target_logprobs(
    model: "PreTrainedModel", items: Sequence[Item], *, tokens_per_batch: int = 2048
) -> list[TargetScore]:
    """Score targets teacher-forced, in the order given, each as if it were alone.

    Rows are sorted by length and batched up to `tokens_per_batch` with padding. log_softmax runs in float32 whatever
    the model does. Raises `ValueError` on an empty prompt or target.
    """
    if not all(prompt and target for prompt, target in items):
        raise ValueError("each item needs a prompt and a target")
    scores: dict[int, TargetScore] = {}
    for chosen in _batches([len(prompt) + len(target) - 1 for prompt, target in items], tokens_per_batch):
        scores |= zip(chosen, _score(model, [items[i] for i in chosen]), strict=True)
    return [scores[i] for i in range(len(items))]


def _batches(lengths: Sequence[int], tokens_per_batch: int) -> list[list[int]]:
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True):
        # the first row of a batch is its longest
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > tokens_per_batch:
            batches.append([])
        batches[-1].append(i)
    return batches


@torch.no_grad()
def _score(model: "PreTrainedModel", items: Sequence[Item]) -> list[TargetScore]:
    # the last token of a target is only a label
    batch = pad([[*prompt, *target][:-1] for prompt, target in items]).to(model.device)  # (B, T)
    first = min(len(prompt) for prompt, _ in items) - 1
    keep = torch.arange(first, int(batch.lengths.max()), device=model.device)  # (K,)
    logits = forward(model, batch, keep)  # (B, K, V)
    scores = []
    for row, (prompt, target) in zip(logits, items, strict=True):
        at = len(prompt) - 1 - first
        own = row[at : at + len(target)].float()  # (n, V): position i predicts token i + 1
        labels = torch.tensor(list(target), device=own.device)  # (n,)
        logprobs = own.log_softmax(-1).gather(-1, labels[:, None])[:, 0]  # (n,)
        hits = own.argmax(-1) == labels  # (n,)
        scores.append(TargetScore(tuple(logprobs.tolist()), tuple(hits.tolist())))
    return scores
