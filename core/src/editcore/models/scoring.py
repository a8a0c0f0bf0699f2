"""How likely a model finds given answers, token by token."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen

from editcore.models.batch import Side, decoder_start, forward, forward_pair, pad
from editcore.models.offload import device_of

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
    model: "PreTrainedModel",
    items: Sequence[Item],
    *,
    tokens_per_batch: int = 2048,
    around: Callable[[Sequence[int]], AbstractContextManager[Any]] | None = None,
) -> list[TargetScore]:
    """Score targets teacher-forced, in the order given, each as if it were alone.

    Rows are sorted by length and batched up to `tokens_per_batch` with padding. `around(indices)` is entered for the
    forward of each batch; its row i is the item `indices[i]`. log_softmax runs in float32 whatever the model does.
    Raises `ValueError` on an empty prompt or target.
    """
    if not all(prompt and target for prompt, target in items):
        raise ValueError("each item needs a prompt and a target")
    scores: dict[int, TargetScore] = {}
    for chosen in _batches([len(prompt) + len(target) - 1 for prompt, target in items], tokens_per_batch):
        with around(chosen) if around is not None else nullcontext():
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
    found = target_logits(model, items)
    logprobs = found.logits.float().log_softmax(-1).gather(-1, found.labels[:, None])[:, 0]  # (n,)
    hits = found.logits.argmax(-1) == found.labels  # (n,)
    lengths = [len(target) for _, target in items]
    return [
        TargetScore(tuple(own.tolist()), tuple(right.tolist()))
        for own, right in zip(torch.split(logprobs, lengths), torch.split(hits, lengths), strict=True)
    ]


@frozen(eq=False)
class TargetLogits:
    """Logits (n, V) that are scored against `labels` (n,), with no further shift; `item` (n,) says whose they are.

    Items stand in their order, and the tokens of a target in theirs.
    """

    logits: torch.Tensor
    labels: torch.Tensor
    item: torch.Tensor


def target_logits(model: "PreTrainedModel", items: Sequence[Item], *, side: Side = "right") -> TargetLogits:
    """One forward of all items, teacher-forced, with gradients if they are enabled.

    A decoder reads prompt and target; the last target token is only a label. With an encoder the prompt goes there,
    and the decoder reads its start token and then the target but for its last token, the label of the last position.
    """
    lengths, device = [len(target) for _, target in items], device_of(model)
    rows = torch.repeat_interleave(torch.arange(len(items)), torch.tensor(lengths)).to(device)  # (n,)
    labels = torch.tensor([token for _, target in items for token in target], device=device)  # (n,)
    if model.config.is_encoder_decoder:
        source = pad([prompt for prompt, _ in items], side=side).to(device)
        start = decoder_start(model)
        target = pad([[start, *target[:-1]] for _, target in items]).to(device)
        columns = torch.cat([torch.arange(length) for length in lengths]).to(device)  # (n,)
        return TargetLogits(forward_pair(model, source, target, (rows, columns)), labels, rows)
    batch = pad([[*prompt, *target][:-1] for prompt, target in items], side=side).to(device)  # (B, T)
    # position i predicts token i + 1: the first target token is predicted at the last of the prompt
    begins = [len(prompt) - 1 for prompt, _ in items]
    if side == "left":
        begins = [batch.ids.shape[1] - len(target) for _, target in items]
    own = [torch.arange(begin, begin + length) for begin, length in zip(begins, lengths, strict=True)]
    return TargetLogits(forward(model, batch, (rows, torch.cat(own).to(device))), labels, rows)
