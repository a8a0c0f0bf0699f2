"""Forwards that share what cannot change: the blocks below a layer, and the positions before a column.

An edit at token s of layer l changes nothing below l, and in a causal decoder nothing before s. One whole forward
keeps what enters block l and the keys and values of every block above; a later forward runs the rest alone. Gradients
are those of the whole forward, because what was kept does not depend on the edit.

Two kinds of models keep less. Linear attention has a state in place of keys and values, so every column is run again.
Blocks that share the keys and values of lower ones cannot run without these, so every block is run again.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from attrs import evolve, field, frozen
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from editcore.models.loading.offload import device_of
from editcore.models.running.batch import Batch, Positions, accepted, head_at, pad
from editcore.models.running.cache_names import as_cache
from editcore.models.running.prefix_tree import stands_apart
from editcore.models.running.prompt_ends import prompts_end
from editcore.models.running.rewriting import as_given
from editcore.models.running.tracing import Place, Tap, Trace
from editcore_hooks import Anatomy, Site, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


_keeps: "WeakKeyDictionary[PreTrainedModel, bool]" = WeakKeyDictionary()


@frozen(eq=False)
class Resumed:
    """A batch of which blocks below `layer`, and columns before `start`, were computed.

    `tail` is what is left of the batch, columns counted from `start`, (B, T − start). `entering` is what block
    `layer` is given at these columns, in the form in which a block returns it; None when `layer` is 0. `prefix` holds
    keys and values (B, heads, start, width) of each block from `layer` up. `heard` are the hooks of the block below
    that `entering` has been through.
    """

    anatomy: "Anatomy" = field(repr=False)
    batch: Batch
    layer: int
    start: int
    entering: Any = field(repr=False)
    prefix: tuple[tuple[Tensor, Tensor], ...] = field(repr=False)
    heard: frozenset[int] = field(default=frozenset(), repr=False)

    @property
    def width(self) -> int:
        """Columns of the tail."""
        return self.batch.ids.shape[1] - self.start

    @property
    def tail(self) -> Batch:
        b, cut = self.batch, slice(self.start, None)
        ends = None if b.ends is None else b.ends - self.start
        return Batch(b.ids[:, cut], b.mask[:, cut], b.positions[:, cut], b.mask[:, cut].sum(1), ends)

    def forward(self, at: Positions | None = None, *, into: Cache | None = None) -> Tensor:
        """Logits of the tail, (B, T − start, V), or (n, V) at n of its positions; with gradients if enabled.

        Without a prefix, `into` is given keys and values of the blocks that run.

        Hooks on sites from `layer` up see tensors of the tail's columns, and so do those on the block before, whose
        output is what enters, unless they were on when it was kept. Sites inside skipped blocks are never reached.
        """
        model, tail = self.anatomy.model, self.tail
        options: dict[str, Any] = {"position_ids": tail.positions} if "position_ids" in accepted(model) else {}
        if self.start:
            into = _read_only(self.prefix, self.layer, self.start)
        if into is not None:
            options |= as_cache(model, into)
        with self._skipping(), head_at(model, at), as_given(model), prompts_end(model, tail.ends):
            output = model(input_ids=tail.ids, attention_mask=self.batch.mask, use_cache=into is not None, **options)
        logits: Tensor = output.logits
        return logits if at is None else logits[0]

    def rows(self, index: Tensor) -> "Resumed":
        """The same for some of the rows, in the order of `index` (n,)."""
        return evolve(
            self,
            batch=self.batch.rows(index),
            entering=_map(self.entering, lambda hidden: hidden[index]),
            prefix=tuple((keys[index], values[index]) for keys, values in self.prefix),
        )

    @torch.no_grad()
    def onward(self, layer: int) -> "Resumed":
        """The same from a higher `layer` on, with the blocks in between run as they are now, hooks included.

        Block `layer` is run too, so that its sites are reached by a caller's trace. Only for `start` 0: keys and
        values of a prefix would be those of the blocks as they were. Raises `ValueError`.
        """
        if self.start or not 0 <= layer < self.anatomy.n_layers or layer < self.layer:
            raise ValueError(
                f"a batch resumed at layer {self.layer}, column {self.start} cannot continue at layer {layer}"
            )
        last: dict[Place, Tap] = {Site("block", layer): Tap(output=True)}
        heard = hooks_on(self.anatomy, layer - 1)
        with output_of(self.anatomy, layer - 1) as below, Trace(self.anatomy, last, stop=True):
            self.forward()
        if stands_apart(self.anatomy.model) or shares_keys(self.anatomy):
            return self
        return evolve(self, layer=layer, entering=below[0] if below else None, heard=heard)

    @contextmanager
    def _skipping(self) -> Iterator[None]:
        """Blocks below `layer` return what enters `layer`, whatever they are given."""
        blocks = [self.anatomy.module(Site("block", i)) for i in range(self.layer)]
        wrapped = [vars(block).get("forward") for block in blocks]  # accelerate puts its own there
        hooks: dict[int, Any] = blocks[-1]._forward_hooks if blocks else {}
        kept = dict(hooks)
        for block in blocks:
            block.forward = lambda *_, **__: self.entering
        for each in self.heard & hooks.keys():
            del hooks[each]  # it would change a second time what it has changed already
        try:
            yield
        finally:
            hooks.clear()
            hooks.update(kept)
            for block, own in zip(blocks, wrapped, strict=True):
                del block.forward
                if own is not None:
                    block.forward = own


@frozen(eq=False)
class Recorded:
    """A batch that was run once: what each block returned, in its own form, and its keys and values of all columns.

    Made by `record`, and larger than what `resume` keeps: for forwards that start at many layers and columns.
    """

    anatomy: "Anatomy" = field(repr=False)
    batch: Batch
    returned: tuple[Any, ...] = field(repr=False)
    kept: tuple[tuple[Tensor, Tensor], ...] = field(repr=False)
    heard: tuple[frozenset[int], ...] = field(repr=False)

    def at(self, layer: int, start: int = 0) -> Resumed:
        """The result of `resume` at that layer and column. At the number of blocks only final norm and head remain."""
        entering = _map(self.returned[layer - 1], lambda hidden: hidden[:, start:]) if layer else None
        prefix = tuple((keys[:, :, :start], values[:, :, :start]) for keys, values in self.kept[layer:])
        heard = self.heard[layer - 1] if layer else frozenset()
        return Resumed(self.anatomy, self.batch, layer, start, entering, prefix if start else (), heard)


@torch.no_grad()
def record(anatomy: "Anatomy", batch: Batch) -> Recorded:
    """Run `batch` once, up to the head, and keep what forwards from any block and column need.

    What traces of the caller replace is kept as replaced. Raises `UsageError` for a model with an encoder, with linear
    attention, or with blocks that share keys and values, and while a memory is attached.
    """
    _require_decoder(anatomy)
    if stands_apart(anatomy.model):
        message = "a memory is attached, which reads whole prompts, so no forward can start in the middle of a text"
        raise UsageError(message, hint="take the memories off first")
    if shares_keys(anatomy) or not keeps_columns(anatomy):
        kind = "blocks that share keys and values" if shares_keys(anatomy) else "linear attention, which keeps a state"
        message = f"{anatomy.model.config.model_type} has {kind}, so no forward can start in the middle of a text"
        raise UsageError(message, hint="choose another method; rome, memit and ft-m work on it")
    cache = all_columns()
    heard = tuple(hooks_on(anatomy, layer) for layer in range(anatomy.n_layers))
    with ExitStack() as entered:
        returned = [entered.enter_context(output_of(anatomy, layer)) for layer in range(anatomy.n_layers)]
        _run(anatomy, batch, cache)
    layers: list[Any] = list(cache.layers)
    kept = tuple((layer.keys, layer.values) for layer in layers)
    return Recorded(anatomy, batch, tuple(found[0] for found in returned), kept, heard)


@torch.no_grad()
def resume(anatomy: "Anatomy", batch: Batch, layer: int, start: int = 0, through: int | None = None) -> Resumed:
    """Run what forwards from block `layer` and column `start` need of `batch`, once, and keep it.

    That is every column below `layer`, and above it those before `start`. The tail is run through the block `through`
    (none: up to the head), so that sites that the caller traces are reached: where `start` is not 0, with the tail's
    columns. `layer` may be the number of blocks: what is left is the head. `start` must not be after a row's first
    token that is to change. `start` of what is returned is 0 where the model keeps no columns, and `layer` is 0 where
    its blocks share keys and values; both are 0 while a memory is attached, which decides in every pass. Raises
    `UsageError` for a model with an encoder, which reads a prompt in both directions.
    """
    _require_decoder(anatomy)
    if start and (stands_apart(anatomy.model) or not keeps_columns(anatomy)):
        start = 0
    if stands_apart(anatomy.model) or shares_keys(anatomy):
        layer = 0
    before = _prefix(anatomy, batch, start) if start else ()
    last = anatomy.n_layers - 1 if through is None else max(through, layer - 1, 0)
    whole = Resumed(anatomy, batch, 0, start, None, before)
    heard = hooks_on(anatomy, layer - 1)
    taps: dict[Place, Tap] = {Site("block", last): Tap(output=True)}
    with output_of(anatomy, layer - 1) as below, Trace(anatomy, taps, stop=True):
        whole.forward()
    entering = below[0] if below else None
    return evolve(whole, layer=layer, entering=entering, prefix=before[layer:], heard=heard)


def shares_keys(anatomy: "Anatomy") -> bool:
    """Whether blocks read the keys and values of lower ones, as in Gemma 3n and small Gemma 4."""
    return bool(getattr(anatomy.model.config.get_text_config(), "num_kv_shared_layers", 0))


def keeps_columns(anatomy: "Anatomy") -> bool:
    """Whether every block keeps keys and values of each column; found by reading two tokens, and remembered."""
    model = anatomy.model
    if model not in _keeps:
        try:
            with _without_hooks(model):
                kept = _prefix(anatomy, pad([[0, 0]]).to(device_of(model)), 1)
            _keeps[model] = len(kept) == anatomy.n_layers and all(keys.shape[-2] == 1 for keys, _ in kept)
        except (
            IndexError,
            AttributeError,
            ValueError,
            TypeError,
            NotImplementedError,
        ):  # asked for another kind of cache
            _keeps[model] = False
    return _keeps[model]


@torch.no_grad()
def _prefix(anatomy: "Anatomy", batch: Batch, start: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Keys and values of the columns before `start` in every block."""
    cut = slice(None, start)
    lengths = batch.mask[:, cut].sum(1)
    cache: Any = all_columns()
    _run(anatomy, Batch(batch.ids[:, cut], batch.mask[:, cut], batch.positions[:, cut], lengths), cache)
    return tuple((kept.keys, kept.values) for kept in cache.layers)


def _run(anatomy: "Anatomy", batch: Batch, cache: Cache) -> None:
    """The forward of `batch` through the last block, which fills `cache`."""
    model = anatomy.model
    options: dict[str, Any] = {"position_ids": batch.positions} if "position_ids" in accepted(model) else {}
    taps: dict[Place, Tap] = {Site("block", anatomy.n_layers - 1): Tap(output=True)}
    with as_given(model), Trace(anatomy, taps, stop=True):
        model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=True, **as_cache(model, cache), **options)


def _require_decoder(anatomy: "Anatomy") -> None:
    """Raises `UsageError` for a model with an encoder."""
    config = anatomy.model.config
    if config.is_encoder_decoder:
        message = f"{config.model_type} has an encoder, which has no prefix to keep"
        raise UsageError(message, hint="choose a model that is a decoder alone")


@contextmanager
def output_of(anatomy: "Anatomy", layer: int) -> Iterator[list[Any]]:
    """The block's output, in its own form, once it has run; nothing for a layer below the first."""
    found: list[Any] = []
    if layer < 0:
        yield found
        return
    handle = anatomy.module(Site("block", layer)).register_forward_hook(lambda _, __, output: found.append(output))
    try:
        yield found
    finally:
        handle.remove()


def hooks_on(anatomy: "Anatomy", layer: int) -> frozenset[int]:
    """The hooks that see what a block returns; none for a layer below the first."""
    return frozenset(anatomy.module(Site("block", layer))._forward_hooks) if layer >= 0 else frozenset()


@contextmanager
def _without_hooks(model: "PreTrainedModel") -> Iterator[None]:
    """Without the hooks of callers, which expect their own batch."""
    hooks: list[dict[int, Any]] = [m._forward_hooks for m in model.modules()]
    hooks += [m._forward_pre_hooks for m in model.modules()]
    kept = [dict(each) for each in hooks]
    for each in hooks:
        each.clear()
    try:
        yield
    finally:
        for each, before in zip(hooks, kept, strict=True):
            added = dict(each)  # transformers may have put its own there
            each.clear()
            each.update(before | added)


def _map(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`change` of the hidden states in what a block returns: a tensor, or a tuple that begins with them."""
    if isinstance(output, tuple):
        return (change(output[0]), *output[1:])
    return None if output is None else change(output)


def all_columns() -> Cache:
    """Keeps every column of every block: a cache made from a configuration forgets what a sliding window leaves."""
    return Cache(layer_class_to_replicate=DynamicLayer)


class _ReadOnly(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of a prefix, put before new ones and never grown: a second step finds what the first found."""

    def __init__(self, kept: tuple[Tensor, Tensor] | None, length: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kept, self._length = kept, length

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:  # (B, heads, T, width)
        assert self._kept is not None  # a skipped block has no keys, and asks for none
        keys, values = self._kept
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)

    def get_seq_length(self) -> int:
        return self._length


class Growing(_ReadOnly):  # type: ignore[no-untyped-call]
    """The same for one forward, after which `grown` holds both."""

    grown: tuple[Tensor, Tensor]

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self.grown = super().update(key_states, value_states)
        return self.grown


def _read_only(prefix: tuple[tuple[Tensor, Tensor], ...], layer: int, length: int) -> Cache:
    return Cache(layers=[_ReadOnly(kept, length) for kept in (*[None] * layer, *prefix)])
