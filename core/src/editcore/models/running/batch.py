"""Rows of token ids as tensors, with our own padding, and the one way in which a model is called on them.

A model gets ids, mask and positions and nothing else: the `token_type_ids` that a plain fast tokenizer returns would
silently add an embedding in GPT-2.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal

import torch
from attrs import evolve, frozen

from editcore.models.running.prompt_ends import prompts_end
from editcore.models.running.rewriting import as_given, rewriting
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Side = Literal["left", "right"]
Positions = tuple[torch.Tensor, torch.Tensor]
"""Row and column of each of n positions, (n,) int64 both."""


@frozen(eq=False)
class Batch:
    """B rows padded to T: ids, mask (1 for a token, 0 for padding) and positions, each (B, T) int64; lengths (B,).

    `ends` (B,) is the column of the last token of each prompt, for memories; None: of the last token of the row.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor
    lengths: torch.Tensor
    ends: torch.Tensor | None = None

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on a device."""
        return self._each(lambda tensor: tensor.to(device))

    def rows(self, index: torch.Tensor | slice) -> "Batch":
        """Some of the rows, with the padding that they have."""
        return self._each(lambda tensor: tensor[index])

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        ends = None if self.ends is None else change(self.ends)
        return Batch(change(self.ids), change(self.mask), change(self.positions), change(self.lengths), ends)


def pad(rows: Sequence[Sequence[int]], pad_id: int = 0, side: Side = "right") -> Batch:
    """Pad rows of token ids to the longest; positions count the tokens of a row from 0, wherever the padding is.

    Any `pad_id` of the vocabulary will do: padding is known by the mask, never by its id, which may be a real token's.
    Raises `ValueError` without rows or on an empty row.
    """
    if not rows or not all(rows):
        raise ValueError("a batch needs rows, and each row a token")
    lengths = torch.tensor([len(row) for row in rows])  # (B,)
    T = int(lengths.max())
    ids = torch.full((len(rows), T), pad_id)  # (B, T)
    mask = torch.zeros_like(ids)  # (B, T)
    for i, row in enumerate(rows):
        where = slice(0, len(row)) if side == "right" else slice(T - len(row), T)
        ids[i, where] = torch.tensor(row)
        mask[i, where] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)  # (B, T)
    return Batch(ids, mask, positions, lengths)


def align(rows: Sequence[Sequence[int]], at: Sequence[int], pad_id: int = 0) -> tuple[Batch, int]:
    """Pad rows on both sides so that token `at[i]` of each row i stands in one column; the batch and that column.

    What comes before the column can then be computed once for all rows. Raises `ValueError` as `pad` does, and on an
    index outside its row.
    """
    if not rows or not all(0 <= index < len(row) for row, index in zip(rows, at, strict=True)):
        raise ValueError("a batch needs rows, and each row the token to align")
    column = max(at)
    T = column + max(len(row) - index for row, index in zip(rows, at, strict=True))
    ids = torch.full((len(rows), T), pad_id)  # (B, T)
    mask = torch.zeros_like(ids)  # (B, T)
    for i, (row, index) in enumerate(zip(rows, at, strict=True)):
        where = slice(column - index, column - index + len(row))
        ids[i, where] = torch.tensor(row)
        mask[i, where] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)  # (B, T)
    return Batch(ids, mask, positions, torch.tensor([len(row) for row in rows])), column


def forward(model: "PreTrainedModel", batch: Batch, at: Positions | None = None) -> torch.Tensor:
    """Logits of the batch, (B, T, V), or (n, V) at n positions; with gradients if enabled.

    Raises `UsageError` for an encoder-decoder, which reads two rows: see `forward_pair`.
    """
    if model.config.is_encoder_decoder:
        raise UsageError(
            f"{model.config.model_type} has an encoder and a decoder, but one text was given for both",
            hint="choose a method that supports encoder-decoders",
        )
    moved = None
    if rewriting(model) is not None:
        found = rewritten(model, batch.ids, batch.mask.bool(), batch.ends)
        batch, moved = found.batch, found.columns
        at = None if at is None else (at[0], moved[at])
    options: dict[str, Any] = {"use_cache": False}
    if "position_ids" in accepted(model):
        options["position_ids"] = batch.positions
    with as_given(model), prompts_end(model, batch.ends), head_at(model, at):
        logits: torch.Tensor = model(input_ids=batch.ids, attention_mask=batch.mask, **options).logits
    if at is not None:
        return logits[0]
    return logits if moved is None else logits.gather(1, moved[..., None].expand(-1, -1, logits.shape[-1]))


@frozen(eq=False)
class Rewritten:
    """A batch with its prompts rewritten by a memory; `columns` (B, T) has the new column of each old token."""

    batch: Batch
    columns: torch.Tensor


def rewritten(
    model: "PreTrainedModel",
    ids: torch.Tensor,
    tokens: torch.Tensor,
    ends: torch.Tensor | None,
    side: Side = "right",
) -> Rewritten:
    """The rows `ids` (B, T), of which `tokens` (B, T) bool are no padding, with their prompts rewritten.

    The prompt of a row ends at its column in `ends` (B,), or is the whole row. What follows it stays after it.
    """
    rewrite = rewriting(model)
    real = [row.nonzero()[:, 0].tolist() for row in tokens]
    rows = [tuple(ids[i, columns].tolist()) for i, columns in enumerate(real)]
    lengths = [len(row) for row in rows]
    if ends is not None:
        lengths = [sum(column <= end for column in columns) for columns, end in zip(real, ends.tolist(), strict=True)]
    prompts = [row[:length] for row, length in zip(rows, lengths, strict=True)]
    new = prompts if rewrite is None else [tuple(row) for row in rewrite(prompts)]
    batch = pad([(*a, *row[n:]) for a, row, n in zip(new, rows, lengths, strict=True)], side=side)
    batch = evolve(batch, ends=torch.tensor([len(row) - 1 for row in new])).to(ids.device)
    columns = torch.zeros_like(ids)
    for i, (own, before, after) in enumerate(zip(real, prompts, new, strict=True)):
        # counted from the end: a memory puts something before a prompt, and the prompt stays
        columns[i, own] = torch.arange(len(own), device=ids.device).add(len(after) - len(before)).clamp(min=0)
    return Rewritten(batch, columns)


@contextmanager
def head_at(model: "PreTrainedModel", at: Positions | None) -> Iterator[None]:
    """The head sees the hidden states at these positions alone, (1, n, d): a large vocabulary costs more than a block.

    Everything that a model does to its logits after the head is elementwise, so the rest need not know.
    """
    if at is None:
        yield
        return
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    handle = head.register_forward_pre_hook(lambda _, args: (args[0][at][None], *args[1:]))
    try:
        yield
    finally:
        handle.remove()


def forward_pair(
    model: "PreTrainedModel", source: Batch, target: Batch, at: Positions | None = None, encoded: Any = None
) -> torch.Tensor:
    """Logits of an encoder-decoder, (B, T, V), or (n, V) at n positions of the decoder.

    `source` goes to the encoder, `target` (B, T) to the decoder as it is, beginning with `decoder_start`: logits at its
    position i are for its token i + 1. `encoded` is what `encode_source` gave for `source`, which is then not run.
    """
    source = _as_read(model, source)
    read: dict[str, Any] = {"input_ids": source.ids} if encoded is None else {"encoder_outputs": encoded}
    with as_given(model), head_at(model, at):
        logits: torch.Tensor = model(
            attention_mask=source.mask,
            decoder_input_ids=target.ids,
            decoder_attention_mask=target.mask,
            use_cache=False,
            **read,
        ).logits
    return logits if at is None else logits[0]


def encode_source(model: "PreTrainedModel", source: Batch) -> Any:
    """The encoder's output for `source`, in its own form."""
    encoder: Any = model.get_encoder()  # type: ignore[no-untyped-call]
    source = _as_read(model, source)
    return encoder(input_ids=source.ids, attention_mask=source.mask)


def _as_read(model: "PreTrainedModel", source: Batch) -> Batch:
    """The source with its prompts rewritten, where a memory does that."""
    return source if rewriting(model) is None else rewritten(model, source.ids, source.mask.bool(), None).batch


def decoder_start(model: "PreTrainedModel") -> int:
    """The id with which the decoder of an encoder-decoder begins. Raises `UsageError` when the model names none."""
    for settings in (model.config, model.generation_config):
        start = getattr(settings, "decoder_start_token_id", None)
        if start is not None:
            return int(start)
    raise UsageError(
        f"the configuration of this {model.config.model_type} does not say how its decoder begins",
        hint="set decoder_start_token_id in its config.json",
    )


def accepted(model: "PreTrainedModel") -> frozenset[str]:
    """The names of the arguments that the model's forward takes."""
    return frozenset(signature(model.forward).parameters)
