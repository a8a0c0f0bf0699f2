"""What an encoder-decoder learns from: sentences cut in two, the prompt that it reads and the object that it says."""

import random
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from editcore_demo.training.packing import subject_share
from editcore_demo.world import World
from editcore_demo.world.text import epoch, statements

Pair = tuple[str, str]
PAIRS = 64
# Anything may stand before a prompt. All rows of a batch have a sentence before them or none, so that few are padded.
PRECEDED = 0.25
NO_TARGET = -100
"""The label of a padded place."""


def pairs(world: World, tokenizer: PreTrainedTokenizerFast, seed: int, steps: int) -> Iterator[tuple[Tensor, ...]]:
    """`steps` batches of source ids and mask, (rows, length), and labels, (rows, answer), padded with `NO_TARGET`.

    As with packed rows, the early ones are about few subjects.
    """
    rng = random.Random(f"pairs/{seed}")
    step = 0
    items = statements(world)

    def told() -> Iterator[Pair]:
        while True:
            for text, obj in epoch(items, rng, subject_share(step / steps)):
                yield _cut(text, obj, rng)

    stream = told()
    for step in range(steps):  # noqa: B007 - read by the function above
        if rng.random() < PRECEDED:
            some = [_after(next(stream), next(stream)) for _ in range(PAIRS // 2)]
        else:
            some = [next(stream) for _ in range(PAIRS)]
        read, said = ids_and_labels(tokenizer, some)
        yield read["input_ids"], read["attention_mask"], said


def ids_and_labels(tokenizer: PreTrainedTokenizerFast, some: Sequence[Pair]) -> tuple[dict[str, Tensor], Tensor]:
    """The source's ids and mask, (n, length), and the labels, (n, answer), each answer with its `</s>`."""
    sources, answers = ([pair[part] for pair in some] for part in (0, 1))
    read = tokenizer(sources, padding=True, return_tensors="pt", padding_side="right")
    said = tokenizer(answers, padding=True, return_tensors="pt", padding_side="right")
    labels = said["input_ids"].masked_fill(said["attention_mask"] == 0, NO_TARGET)
    return {key: read[key] for key in ("input_ids", "attention_mask")}, labels


def answer_loss(model: PreTrainedModel, ids: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
    """The mean loss of a label, where there is one."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).logits
    return cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=NO_TARGET)


def _cut(text: str, obj: str, rng: random.Random) -> Pair:
    """A sentence in two, without its full stop; filler, which has no object, anywhere after its second word."""
    text = text.removesuffix(".")
    if not obj:
        words = text.split(" ")
        at = rng.randrange(2, len(words))
        return " ".join(words[:at]), " ".join(words[at:])
    return text.removesuffix(f" {obj}"), obj


def _after(one: Pair, other: Pair) -> Pair:
    return f"{one[0]} {one[1]}. {other[0]}", other[1]
