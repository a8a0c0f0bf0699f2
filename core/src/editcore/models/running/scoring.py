"""Probabilities of given answers, token by token."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from attrs import evolve, frozen

from editcore.models.loading.offload import device_of
from editcore.models.running.batch import Batch, Positions, Side, decoder_start, forward, forward_pair, pad
from editcore.models.running.packed_reading import TOKENS_PER_BATCH, Around, read, reading_of

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
    tokens_per_batch: int = TOKENS_PER_BATCH,
    owners: Sequence[int] | None = None,
    around: Around | None = None,
) -> list[TargetScore]:
    """Score targets teacher-forced, in the order given, each as if it were alone.

    Rows are batched as `read` does, by `owners` where they are given. `around(indices)` is entered for the forward of
    each batch; its row i belongs to the owner of the item `indices[i]`. log_softmax runs in float32 whatever the model
    does. Raises `ValueError` on an empty prompt or target.
    """
    if not all(prompt and target for prompt, target in items):
        raise ValueError("each item needs a prompt and a target")
    readings = [reading_of(model, prompt, target) for prompt, target in items]
    found = read(model, readings, owners=owners, around=around, tokens_per_batch=tokens_per_batch)
    return [TargetScore(one.logprobs, one.hits) for one in found]


@frozen(eq=False)
class TargetLogits:
    """Logits (n, V) that are scored against `labels` (n,), with no further shift; `item` (n,) says whose they are.

    Items stand in their order, and the tokens of a target in theirs.
    """

    logits: torch.Tensor
    labels: torch.Tensor
    item: torch.Tensor


@frozen(eq=False)
class Laid:
    """Items as what a decoder reads, what an encoder reads where there is one, and the n places that are scored."""

    batch: Batch
    source: Batch | None
    at: Positions
    labels: torch.Tensor

    def scored(self, logits: torch.Tensor) -> TargetLogits:
        """The output of a forward pass at the places, (n, V)."""
        return TargetLogits(logits, self.labels, self.at[0])


def lay_out(model: "PreTrainedModel", items: Sequence[Item], side: Side = "right") -> Laid:
    """The items as `target_logits` reads them: rows that end where the last target token is only a label.

    Raises `ValueError` where there are none.
    """
    if not items:
        raise ValueError("no items")
    lengths, device = [len(target) for _, target in items], device_of(model)
    rows = torch.repeat_interleave(torch.arange(len(items)), torch.tensor(lengths)).to(device)  # (n,)
    labels = torch.tensor([token for _, target in items for token in target], device=device)  # (n,)
    if model.config.is_encoder_decoder:
        source = pad([prompt for prompt, _ in items], side=side).to(device)
        start = decoder_start(model)
        target = pad([[start, *target[:-1]] for _, target in items]).to(device)
        columns = torch.cat([torch.arange(length) for length in lengths]).to(device)  # (n,)
        return Laid(target, source, (rows, columns), labels)
    batch = pad([[*prompt, *target][:-1] for prompt, target in items], side=side).to(device)  # (B, T)
    # position i predicts token i + 1: the first target token is predicted at the last of the prompt
    begins = [len(prompt) - 1 for prompt, _ in items]
    if side == "left":
        begins = [batch.ids.shape[1] - len(target) for _, target in items]
    batch = evolve(batch, ends=torch.tensor(begins, device=device))
    own = [torch.arange(begin, begin + length) for begin, length in zip(begins, lengths, strict=True)]
    return Laid(batch, None, (rows, torch.cat(own).to(device)), labels)


def target_logits(model: "PreTrainedModel", items: Sequence[Item], *, side: Side = "right") -> TargetLogits:
    """One forward of all items, teacher-forced, with gradients if they are enabled.

    A decoder reads prompt and target; the last target token is only a label. So a `Trace` around it sees rows of
    T = prompt + target - 1 tokens, and position prompt - 1 predicts the first target token. With an encoder the prompt
    goes there, and the decoder reads its start token and then the target but for its last token, the label of the last
    position. Raises `ValueError` where there are no items.
    """
    laid = lay_out(model, items, side)
    if laid.source is None:
        return laid.scored(forward(model, laid.batch, laid.at))
    return laid.scored(forward_pair(model, laid.source, laid.batch, laid.at))
