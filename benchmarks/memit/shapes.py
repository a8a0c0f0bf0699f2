"""Random models and random edits: for time and memory, not for what an edit does."""

from collections.abc import Mapping
from typing import Final

import torch
from attrs import frozen
from torch import Tensor

from editcore.models.anatomy.model_map import Anatomy
from editcore_keyvalue.rows import EditRows, TokenRow
from editcore_keyvalue.value import ValueSettings

PROMPT, SUBJECT_START, SUBJECT_END, TARGET = 12, 4, 7, 2
"""Tokens of the prompt, where its subject stands, and of the target. Every other prompt begins with its subject."""
CONTEXTS: Final = (0, *(10,) * 5)
"""Tokens before the prompt in each of 6 contexts."""
SETTINGS: Final = ValueSettings(20, lr=0.5, weight_decay=0.5, kl=0.0625, clamp=0.75, stop="never")
WEIGHT: Final = 15_000.0


@frozen
class Shape:
    n_layers: int
    width: int
    heads: int
    vocabulary: int
    edited: tuple[int, ...]


SHAPES: Final[Mapping[str, Shape]] = {
    "medium": Shape(24, 1024, 16, 50257, (6, 7, 8)),
    "tiny": Shape(6, 64, 4, 1500, (1, 2, 3)),
    "6b": Shape(28, 4096, 16, 50400, (3, 4, 5, 6, 7, 8)),
}


def model(shape: Shape, dtype: torch.dtype, device: str) -> Anatomy:
    from transformers import AutoModelForCausalLM, GPT2Config

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=shape.vocabulary, n_embd=shape.width, n_layer=shape.n_layers, n_head=shape.heads)
    with torch.device(device):
        made = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return Anatomy.of(made.eval().requires_grad_(False))


def rows(n: int, vocabulary: int) -> list[EditRows]:
    """Edits of random ids; the contexts are the same for all, as they are in earnest."""
    generator = torch.Generator().manual_seed(1)

    def some(length: int) -> list[int]:
        return torch.randint(100, vocabulary, (length,), generator=generator).tolist()

    before, edits = [some(length) for length in CONTEXTS], []
    for number in range(n):
        prompt, target, contexts = some(PROMPT), some(TARGET), []
        for context in before:
            ids = (*context, *prompt, *target[:-1])
            first = len(context) + PROMPT - 1
            s = len(context) + SUBJECT_END - 1
            contexts.append(TokenRow(ids, s, tuple(range(first, first + TARGET)), tuple(target)))
        kl = tuple(prompt[SUBJECT_START if number % 2 else 0 : SUBJECT_END])
        edits.append(EditRows(tuple(contexts), TokenRow(kl, len(kl) - 1)))
    return edits


def moment(f: int, device: str) -> Tensor:
    a = torch.randn(f, 2 * f, generator=torch.Generator().manual_seed(2)).to(device) / (2 * f) ** 0.5
    return a @ a.T


def floor_flops(shape: Shape, steps: int = SETTINGS.steps) -> float:
    """Of the values of one edit, multiply-adds counted twice: blocks above the last layer for tokens from s on, and the
    head where a loss reads it, forward and, without weight gradients, as much again backward; what comes before s, and
    below the layer, once. Half the edits read the KL term in the clean row."""
    block = 12 * shape.width**2
    above = shape.n_layers - shape.edited[-1] - 1
    tail = len(CONTEXTS) * (PROMPT - SUBJECT_END + TARGET) + 0.5
    whole = sum(length + PROMPT + TARGET - 1 for length in CONTEXTS) + 0.5 * (SUBJECT_END - SUBJECT_START)
    head = (len(CONTEXTS) * TARGET + 1) * shape.width * shape.vocabulary
    once = (shape.n_layers - above) * block * whole + above * block * (whole - tail)
    return 2 * ((2 * steps - 1) * (above * block * tail + head) + once)
