"""Where the prompts of a batch end, for what decides on prompts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from editcore_hooks import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_IGNORED: Final = -100
_declared: "WeakKeyDictionary[PreTrainedModel, Tensor]" = WeakKeyDictionary()


@contextmanager
def prompts_end(model: "PreTrainedModel", columns: Tensor | None) -> Iterator[None]:
    """In the body, the prompt of row i ends at column `columns[i]`, (B,); None: at the row's last token."""
    before = _declared.pop(model, None)
    if columns is not None:
        _declared[model] = columns
    try:
        yield
    finally:
        _declared.pop(model, None)
        if before is not None:
            _declared[model] = before


def prompt_tokens(model: "PreTrainedModel", given: Mapping[str, Any], shape: tuple[int, int]) -> Tensor:
    """The tokens of the prompt in a whole batch, (B, S) bool.

    Each row up to the column that was declared; else up to the first label that counts, as in training; else all.
    Raises `UsageError` for a mask that is not of rows.
    """
    tokens = real_tokens(given.get("attention_mask"), shape)
    ends = _declared.get(model)
    labels = given.get("labels")
    if ends is None and labels is not None:
        counts = labels != _IGNORED  # (B, S)
        # position i predicts label i + 1; labels that begin at once leave no prompt, and the row is read as one
        first = counts.long().argmax(1)
        ends = torch.where(first > 0, first - 1, shape[1] - 1)
    if ends is None:
        return tokens
    return tokens & (torch.arange(shape[1], device=tokens.device) <= ends.to(tokens.device)[:, None])


def real_tokens(mask: Any, shape: tuple[int, int]) -> Tensor:
    """The tokens of a batch that are no padding, (B, S) bool. Raises `UsageError` for a mask that is not of rows."""
    if mask is None:
        return torch.ones(shape, dtype=torch.bool)
    if not isinstance(mask, Tensor) or mask.dim() != 2:
        raise UsageError(
            "a memory is attached, and it decides for each row, but the attention mask is not (rows, columns)",
            hint="pass one text a row, with a mask of 1 for tokens and 0 for padding",
        )
    return mask.bool()


def last_true(tokens: Tensor) -> Tensor:
    """The last column of each row that is True, (B,); 0 where none is."""
    columns = torch.arange(tokens.shape[1], device=tokens.device)
    return (tokens * columns).amax(1) if tokens.shape[1] else torch.zeros(len(tokens), dtype=torch.long)
