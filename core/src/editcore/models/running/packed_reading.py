"""The predictions of a model at chosen positions of many token rows: packed by length, common beginnings read once."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import evolve, frozen
from torch import Tensor

from editcore.models.loading.offload import device_of
from editcore.models.running.batch import decoder_start, forward, forward_pair, pad
from editcore.models.running.prefix_tree import TreeRow, batch_of, rows_for, stands_apart
from editcore.models.running.top_k_distribution import TopKDistribution, divergence, top_k

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Around = Callable[[Sequence[int]], AbstractContextManager[Any]]
TOKENS_PER_BATCH: Final = 2048
PADDING: Final = 64
"""Columns of padding that a batch may hold: about what one more forward costs, in tokens."""


@frozen
class Reading:
    """`ids` to read, and one label for each position from `begin` on: the token that may follow it, or None.

    With an encoder, it reads `source` and the decoder `ids`, beginning with its start. Nothing is shifted any more.
    """

    ids: tuple[int, ...]
    begin: int
    labels: tuple[int | None, ...]
    source: tuple[int, ...] = ()


@frozen(eq=False)
class Found:
    """At each position of a reading: log-probability of the label (natural log; of None, 0), the likeliest token,
    whether it is the label; `top_k`, where it was asked for, and the divergence from one that was given, in nats."""

    logprobs: tuple[float, ...]
    said: tuple[int, ...]
    hits: tuple[bool, ...]
    top_k: TopKDistribution | None = None
    kl: tuple[float, ...] = ()


def reading_of(model: "PreTrainedModel", prompt: Sequence[int], target: Sequence[int]) -> Reading:
    """The target after the prompt, teacher-forced; an empty target reads the one position after the prompt."""
    labels: tuple[int | None, ...] = tuple(target) or (None,)
    if model.config.is_encoder_decoder:
        return Reading((decoder_start(model), *target[:-1]), 0, labels, tuple(prompt))
    return Reading((*prompt, *target[:-1]), len(prompt) - 1, labels)


def read(
    model: "PreTrainedModel",
    readings: Sequence[Reading],
    *,
    owners: Sequence[int] | None = None,
    around: Around | None = None,
    keeps_top_k: bool = False,
    against: Mapping[int, TopKDistribution] | None = None,
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> list[Found]:
    """Read all, in the order given, each as if it were alone.

    Readings of one owner share a row where they begin alike (see `prefix_tree`); with `around` and no owners none do.
    `around(indices)` is entered for the forward of each batch, whose row i belongs to the owner of `indices[i]`.
    `against` has by index of a reading the distributions at its positions from which the divergence is wanted.
    """
    if owners is None:
        owners = range(len(readings)) if around is not None else [0] * len(readings)
    rows = rows_for(model, [((owner, one.source), one.ids) for owner, one in zip(owners, readings, strict=True)])
    found: dict[int, Found] = {}
    lengths = [len(readings[row.first].source) + len(row.ids) for row in rows]
    for chosen in batches(lengths, tokens_per_batch):
        batch = [rows[c] for c in chosen]
        wanted = [i for row in batch for i in row.columns]
        with torch.no_grad(), around([row.first for row in batch]) if around is not None else nullcontext():
            logits = _logits(model, readings, batch)
        found |= zip(
            wanted, _found([readings[i] for i in wanted], wanted, logits, keeps_top_k, against or {}), strict=True
        )
    return [found[i] for i in range(len(readings))]


def batches(lengths: Sequence[int], tokens_per_batch: int) -> list[list[int]]:
    """Rows of like length together, the longest first, up to `tokens_per_batch` and `PADDING` of it."""
    found: list[list[int]] = []
    padding = longest = 0
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True):
        padding += longest - lengths[i]
        if not found or padding > PADDING or (len(found[-1]) + 1) * longest > tokens_per_batch:
            found.append([])
            longest, padding = lengths[i], 0
        found[-1].append(i)
    return found


def _logits(model: "PreTrainedModel", readings: Sequence[Reading], rows: Sequence[TreeRow]) -> Tensor:
    """At every position of every member of the rows, (n, V), in their order."""
    device = device_of(model)
    where = [
        (number, column)
        for number, row in enumerate(rows)
        for i, columns in row.columns.items()
        for column in columns[readings[i].begin :][: len(readings[i].labels)]
    ]
    at = torch.tensor(where, device=device).T  # (2, n)
    target = batch_of(model, rows)  # (B, T)
    if stands_apart(model):  # then a row is one reading
        ends = [row.columns[row.first][readings[row.first].begin] for row in rows]
        target = evolve(target, ends=torch.tensor(ends))
    target = target.to(device)
    if not model.config.is_encoder_decoder:
        return forward(model, target, (at[0], at[1]))
    return forward_pair(model, pad([readings[row.first].source for row in rows]).to(device), target, (at[0], at[1]))


def _found(
    readings: Sequence[Reading],
    numbers: Sequence[int],
    logits: Tensor,
    keeps_top_k: bool,
    against: Mapping[int, TopKDistribution],
) -> list[Found]:
    sizes = [len(one.labels) for one in readings]
    flat = [label for one in readings for label in one.labels]
    labels = torch.tensor([label or 0 for label in flat], device=logits.device)  # (n,)
    known = torch.tensor([label is not None for label in flat], device=logits.device)
    every = logits.float().log_softmax(-1)  # (n, V)
    scored = torch.where(known, every.gather(-1, labels[:, None])[:, 0], 0.0).tolist()
    likeliest = logits.argmax(-1)  # (n,)
    said, hits = likeliest.tolist(), (known & (likeliest == labels)).tolist()
    answers, start = [], 0
    for number, size in zip(numbers, sizes, strict=True):
        own = slice(start, start + size)
        kl = divergence(against[number], every[own]).tolist() if number in against else ()
        kept = top_k(every[own]) if keeps_top_k else None
        answers.append(Found(tuple(scored[own]), tuple(said[own]), tuple(hits[own]), kept, tuple(kl)))
        start += size
    return answers
