"""Prompts that are written on again and again, while nothing changes but the weights of some sites.

What these weights cannot reach is run once: the prompts in the blocks below the lowest site, with their keys and
values, or the encoder. The distributions that a token is drawn from are read on the way, so no second forward is
needed for them. Linear attention has no columns to keep; there, and with an encoder, rows are read from the start.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from attrs import evolve, frozen
from torch import Tensor
from transformers.cache_utils import Cache

from editcore.models.loading.offload import device_of
from editcore.models.running.batch import (
    Batch,
    accepted,
    decoder_start,
    encode_source,
    forward,
    forward_pair,
    pad,
)
from editcore.models.running.cache_names import as_cache
from editcore.models.running.cached_logits import in_decoder
from editcore.models.running.resume import (
    Growing,
    Resumed,
    all_columns,
    hooks_on,
    keeps_columns,
    output_of,
    shares_keys,
)
from editcore.models.running.scoring import Item
from editcore.models.running.tracing import Place, Tap, Trace
from editcore_hooks import Anatomy, Site

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@frozen(eq=False)
class Written:
    """Rows as far as they are written: `logits` (B, n, V) after each of the last n tokens, without gradient."""

    logits: Tensor
    _more: Callable[[Tensor], "Written"]

    def read(self, tokens: Tensor) -> "Written":
        """The rows with `tokens` (B, n) after them; this value stays as it is, and can be read on from again."""
        return self._more(tokens)


def rollout(anatomy: Anatomy, items: Sequence[Item], sites: Sequence[Site]) -> Callable[[], Written]:
    """Start to write on after each item, a prompt and the part of the answer that is given, by a call each time.

    `logits` of what is returned has n = 1. Right as long as no weight, hook or patch changes but weights of `sites`.
    """
    if anatomy.model.config.is_encoder_decoder:
        return _pairs(anatomy.model, items, sites)
    rows = [[*prompt, *given] for prompt, given in items]
    if shares_keys(anatomy) or not keeps_columns(anatomy):
        return lambda: _reread(anatomy.model, rows, 1)
    return _kept(anatomy, rows, min(site.layer or 0 for site in sites))


@torch.no_grad()
def _kept(anatomy: Anatomy, rows: Sequence[Sequence[int]], lowest: int) -> Callable[[], Written]:
    """By keys and values: those below `lowest` are kept for good, those above until the next start."""
    batch = pad(rows, side="left").to(device_of(anatomy.model))
    last = (torch.arange(len(rows), device=batch.ids.device), torch.full_like(batch.lengths, batch.ids.shape[1] - 1))
    begun, below = Resumed(anatomy, batch, 0, 0, None, ()), all_columns()
    if lowest:
        taps: dict[Place, Tap] = {Site("block", lowest - 1): Tap(output=True)}
        heard = hooks_on(anatomy, lowest - 1)
        with output_of(anatomy, lowest - 1) as entering, Trace(anatomy, taps, stop=True):
            begun.forward(into=below)
        begun = evolve(begun, layer=lowest, entering=entering[0], heard=heard)

    @torch.no_grad()
    def start() -> Written:
        above = all_columns()
        logits = begun.forward(last, into=above)[:, None]  # (B, 1, V)
        layers: list[Any] = [*below.layers[:lowest], *above.layers[lowest:]]
        return _after(anatomy.model, batch, tuple((each.keys, each.values) for each in layers), logits)

    return start


def _after(model: "PreTrainedModel", batch: Batch, kept: tuple[tuple[Tensor, Tensor], ...], logits: Tensor) -> Written:
    @torch.no_grad()
    def more(tokens: Tensor) -> Written:  # (B, n)
        length, n = batch.mask.shape[1], tokens.shape[1]
        mask = torch.cat([batch.mask, torch.ones_like(tokens)], 1)  # (B, T + n)
        positions = batch.lengths[:, None] + torch.arange(n, device=tokens.device)  # (B, n)
        growing = [Growing(each, length) for each in kept]
        options: dict[str, Any] = {"position_ids": positions} if "position_ids" in accepted(model) else {}
        options |= as_cache(model, Cache(layers=[*growing]))
        found = model(input_ids=tokens, attention_mask=mask, use_cache=True, **options).logits  # (B, n, V)
        longer = Batch(torch.cat([batch.ids, tokens], 1), mask, torch.cat([batch.positions, positions], 1),
                       batch.lengths + n)  # fmt: skip
        return _after(model, longer, tuple(layer.grown for layer in growing), found)

    return Written(logits, more)


@torch.no_grad()
def _reread(model: "PreTrainedModel", rows: Sequence[Sequence[int]], n: int) -> Written:
    """By reading whole rows; the logits after the last `n` tokens of each."""
    batch = pad(rows).to(device_of(model))
    logits = forward(model, batch, _last(batch, n)).reshape(len(rows), n, -1)  # (B, n, V)
    return Written(logits, lambda tokens: _reread(model, _longer(rows, tokens), tokens.shape[1]))


@torch.no_grad()
def _pairs(model: "PreTrainedModel", items: Sequence[Item], sites: Sequence[Site]) -> Callable[[], Written]:
    source = pad([prompt for prompt, _ in items]).to(device_of(model))
    encoded = encode_source(model, source) if in_decoder(sites) else None
    start = decoder_start(model)

    @torch.no_grad()
    def reread(rows: Sequence[Sequence[int]], n: int) -> Written:
        batch = pad(rows).to(device_of(model))
        logits = forward_pair(model, source, batch, _last(batch, n), encoded).unflatten(0, (len(rows), n))  # type: ignore[no-untyped-call]
        return Written(logits, lambda tokens: reread(_longer(rows, tokens), tokens.shape[1]))

    return lambda: reread([[start, *given] for _, given in items], 1)


def _last(batch: Batch, n: int) -> tuple[Tensor, Tensor]:
    """Row and column of the last `n` tokens of each row, (B · n,) both."""
    rows = torch.arange(len(batch.lengths), device=batch.ids.device).repeat_interleave(n)
    columns = batch.lengths[:, None] - n + torch.arange(n, device=batch.ids.device)  # (B, n)
    return rows, columns.flatten()


def _longer(rows: Sequence[Sequence[int]], tokens: Tensor) -> list[list[int]]:
    return [[*row, *more] for row, more in zip(rows, tokens.tolist(), strict=True)]
