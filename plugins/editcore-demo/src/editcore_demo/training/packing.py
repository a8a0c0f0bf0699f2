"""Packing sentences in random order into rows, so that anything may stand before a sentence."""

import random
from collections.abc import Callable, Iterator

import torch
from attrs import frozen
from transformers import PreTrainedTokenizerFast

from editcore_demo.world import World
from editcore_demo.world.text import epoch, statements

# Small: what limits the learning of facts is the number of updates, not the noise in each.
TOKENS_PER_BATCH = 1024
# Short rows make many sentences the first of their row, as a prompt is; long rows train the late positions.
ROW_LENGTHS = (64, 64, 128, 128, 256)
# Most of a sentence cannot be predicted, least of all its subject; the object can, and must be heard over that noise.
OBJECT_WEIGHT = 3.0
# Recall is learnt fast on few subjects and slowly on many, and once learnt takes in new subjects at once.
FEW, FEW_UNTIL, ALL_FROM = 0.1, 0.08, 0.35
BLANK, NEWLINE, END = 0.6, 0.2, 0.2


@frozen
class _Piece:
    """A sentence as token ids, as the first of a row and as a later one; its last `known` tokens are the object's."""

    first: list[int]
    later: list[int]
    known: int


def batches(
    world: World, tokenizer: PreTrainedTokenizerFast, seed: int, begins_with_bos: bool, steps: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Input ids and the weight of each as a target, both (rows, length); padding weighs nothing.

    `steps` batches, of which the early ones are about few subjects.
    """
    rng = random.Random(f"packing/{seed}")
    step = 0
    pieces = _pieces(world, tokenizer, rng, begins_with_bos, lambda: subject_share(step / steps))
    waiting = next(pieces)
    for step in range(steps):  # noqa: B007 - read by the lambda above
        length = rng.choice(ROW_LENGTHS)
        ids = torch.full((TOKENS_PER_BATCH // length, length), tokenizer.pad_token_id)
        weights = torch.zeros(ids.shape)
        for row in range(len(ids)):
            filled, weighed = list(waiting.first), _weights(len(waiting.first), waiting.known)
            waiting = next(pieces)
            while len(filled) + len(waiting.later) <= length:
                filled += waiting.later
                weighed += _weights(len(waiting.later), waiting.known)
                waiting = next(pieces)
            ids[row, : len(filled)] = torch.tensor(filled)
            weights[row, : len(filled)] = torch.tensor(weighed)
        yield ids, weights


def subject_share(done: float) -> float:
    """The share of subjects that are spoken of when the share `done` of the training is over."""
    grown = (done - FEW_UNTIL) / (ALL_FROM - FEW_UNTIL)
    return FEW + (1 - FEW) * min(1.0, max(0.0, grown))


def _weights(length: int, known: int) -> list[float]:
    return [1.0] * (length - known) + [OBJECT_WEIGHT] * known


def _pieces(
    world: World,
    tokenizer: PreTrainedTokenizerFast,
    rng: random.Random,
    begins_with_bos: bool,
    share: Callable[[], float],
) -> Iterator[_Piece]:
    items = statements(world)
    newline = tokenizer("\n", add_special_tokens=False)["input_ids"]
    while True:
        told = epoch(items, rng, share())
        texts = [text for text, _ in told]
        encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        after_blank = tokenizer([" " + text for text in texts], add_special_tokens=False)["input_ids"]
        for (text, obj), ids, blank, offsets in zip(
            told, encoded["input_ids"], after_blank, encoded["offset_mapping"], strict=True
        ):
            object_start = len(text) - len(obj) - 1
            known = sum(end > object_start for _, end in offsets) if obj else 0
            if begins_with_bos:
                # A metaspace tokenizer puts a blank in front by itself, so that both forms are the same tokens.
                first = [tokenizer.bos_token_id, *ids]
                later = [tokenizer.eos_token_id, *first] if rng.random() < END else ids
            else:
                first = ids
                before = rng.choices(("blank", "newline", "end"), (BLANK, NEWLINE, END))[0]
                later = {"blank": blank, "newline": newline + ids, "end": [tokenizer.eos_token_id, *ids]}[before]
            yield _Piece(first, later, known)
