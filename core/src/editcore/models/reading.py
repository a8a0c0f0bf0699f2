"""What a model expects at chosen positions of many token rows: packed by length, common beginnings read once."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import frozen
from torch import Tensor

from editcore.models.batch import decoder_start, forward, forward_pair, pad
from editcore.models.offload import device_of
from editcore.models.spread import Spread, divergence, spread

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
    whether it is the label; `spread`, where it was asked for, and the divergence from one that was given, in nats."""

    logprobs: tuple[float, ...]
    said: tuple[int, ...]
    hits: tuple[bool, ...]
    spread: Spread | None = None
    kl: tuple[float, ...] = ()


def reading_of(model: "PreTrainedModel", prompt: Sequence[int], target: Sequence[int]) -> Reading:
    """The target after the prompt, teacher-forced; an empty target reads the one position behind the prompt."""
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
    spreads: bool = False,
    against: Mapping[int, Spread] | None = None,
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> list[Found]:
    """Read all, in the order given, each as if it were alone.

    Readings of one owner share a row where one's ids begin the other's; with `around` and no owners none do.
    `around(indices)` is entered for the forward of each batch, whose row i belongs to the reading `indices[i]`.
    `against` has by index of a reading the spread at its positions from which the divergence is wanted.
    """
    if owners is None:
        owners = range(len(readings)) if around is not None else [0] * len(readings)
    row_of = _rows(readings, owners)
    rows = sorted(set(row_of))
    read_by: dict[int, list[int]] = {row: [] for row in rows}
    for i, row in enumerate(row_of):
        read_by[row].append(i)
    found: dict[int, Found] = {}
    lengths = [len(readings[row].source) + len(readings[row].ids) for row in rows]
    for chosen in batches(lengths, tokens_per_batch):
        batch = [rows[c] for c in chosen]
        wanted = [i for row in batch for i in read_by[row]]
        with torch.no_grad(), around(batch) if around is not None else nullcontext():
            logits = _logits(model, [readings[row] for row in batch], _places(readings, batch, read_by))
        found |= zip(wanted, _found([readings[i] for i in wanted], wanted, logits, spreads, against or {}), strict=True)
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


def _rows(readings: Sequence[Reading], owners: Sequence[int]) -> list[int]:
    """For each reading the one whose row it is read from: of its owner and source, one that its ids begin.

    In lexicographic order a beginning stands right before what it begins, so one walk from the end finds the rows. A
    position sees nothing behind it, so what follows in a row changes nothing.
    """
    keys = [(owner, one.source, one.ids) for owner, one in zip(owners, readings, strict=True)]
    row_of = list(range(len(readings)))
    row = -1
    for i in sorted(row_of, key=keys.__getitem__, reverse=True):
        if row < 0 or keys[i][:2] != keys[row][:2] or keys[i][2] != keys[row][2][: len(keys[i][2])]:
            row = i
        row_of[i] = row
    return row_of


def _places(
    readings: Sequence[Reading], batch: Sequence[int], read_by: Mapping[int, Sequence[int]]
) -> tuple[Tensor, Tensor]:
    """Row and column of every position, (n,), in the order of the readings of each row."""
    where = [
        (number, readings[i].begin + offset)
        for number, row in enumerate(batch)
        for i in read_by[row]
        for offset in range(len(readings[i].labels))
    ]
    rows, columns = zip(*where, strict=True)
    return torch.tensor(rows), torch.tensor(columns)


def _logits(model: "PreTrainedModel", rows: Sequence[Reading], at: tuple[Tensor, Tensor]) -> Tensor:
    device = device_of(model)
    places = (at[0].to(device), at[1].to(device))
    target = pad([row.ids for row in rows]).to(device)  # (B, T)
    if not model.config.is_encoder_decoder:
        return forward(model, target, places)
    return forward_pair(model, pad([row.source for row in rows]).to(device), target, places)


def _found(
    readings: Sequence[Reading], numbers: Sequence[int], logits: Tensor, spreads: bool, against: Mapping[int, Spread]
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
        kept = spread(every[own]) if spreads else None
        answers.append(Found(tuple(scored[own]), tuple(said[own]), tuple(hits[own]), kept, tuple(kl)))
        start += size
    return answers
