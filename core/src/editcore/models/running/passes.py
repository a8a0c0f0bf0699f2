"""The passes of one model, as memories see them: what each row's prompt is, and which sequence a pass continues.

A sequence begins with its prompt, in one pass. It continues with a cache, or is read again as a whole for each token.
`generate` says where it begins and ends. Outside of it a cache does: a pass with a filled cache continues the
sequence that filled it.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from attrs import define, field, frozen
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakIdKeyDictionary

from editcore.models.running.cache_names import cache_of, drop_cache, kept_cache
from editcore.models.running.generate_calls import Call, unwrap, wrap
from editcore.models.running.prompt_ends import last_true, prompt_tokens, real_tokens
from editcore_hooks import ConflictError
from editcore_hooks.values import Stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NAME = "b: passes"


@define(eq=False)
class Latched:
    """Decisions that hold for a sequence, by number of the memory: (B,) int64 each; `idle` are those without a hit."""

    decisions: dict[int, Tensor] = field(factory=dict)
    idle: set[int] = field(factory=set)


@frozen(eq=False)
class Pass:
    """One run of a stack: `width` columns from `start` on, of sequences whose prompts are `prompts` (B, P).

    `prompt` and `last` are computed when they are asked for: most passes are those of one token of an answer, on which
    everything is decided.
    """

    prompts: Tensor
    start: int
    width: int
    latched: Latched
    device: torch.device
    _made: dict[str, Tensor] = field(factory=dict, init=False)

    @property
    def in_answer(self) -> bool:
        """Whether every column is after all of the prompts."""
        return self.start >= self.prompts.shape[1]

    @property
    def prompt(self) -> Tensor:
        """Tokens of the prompt among the columns, (B, S) bool."""
        if "prompt" not in self._made:
            here = torch.zeros(len(self.prompts), self.width, dtype=torch.bool)
            shown = self.prompts[:, self.start : self.start + self.width]
            here[:, : shown.shape[1]] = shown
            self._made["prompt"] = here.to(self.device)
        return self._made["prompt"]

    @property
    def last(self) -> Tensor:
        """The column of the prompt's last token, -1 where it is not among them, (B,)."""
        if "last" not in self._made:
            last = last_true(self.prompts) - self.start
            self._made["last"] = torch.where((last >= 0) & (last < self.width), last, -1).to(self.device)
        return self._made["last"]


@define(eq=False)
class Generation:
    """A call of `generate`: the width of its prompts, their tokens (B, P) bool once known, and the decisions."""

    width: int | None
    prompt: Tensor | None
    latched: Latched = field(factory=Latched)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Generation":
        """By the arguments of `generate`."""
        names = ("inputs_embeds", "inputs", "input_ids")
        read = next((given[name] for name in names if given.get(name) is not None), None)
        mask = given.get("attention_mask")
        prompt = real_tokens(mask, (len(mask), -1)).cpu() if isinstance(mask, Tensor) else None
        return cls(None if read is None else read.shape[1], prompt)

    def rows(self, n: int, seen: Callable[[], Tensor]) -> Tensor:
        """The prompts of n rows, beams and samples of a prompt next to each other; `seen` tells them if none did."""
        if self.prompt is None:
            self.prompt = seen()[:, : self.width]
        each = n // len(self.prompt)
        return self.prompt if each == 1 else self.prompt.repeat_interleave(each, 0)


@define(eq=False)
class Passes:
    """Watches a model between `on` and `off`; afterwards nothing is left on it."""

    model: "PreTrainedModel"
    current: dict[Stack, Pass] = field(factory=dict)
    """The pass that runs, by stack; nothing where a module is run by itself."""
    _hooks: list[RemovableHandle] = field(factory=list)
    _sequences: Any = field(factory=WeakIdKeyDictionary)
    """Decisions by cache, and by output of an encoder."""
    _generation: Generation | None = None
    _both: bool = field(init=False)
    _names: tuple[str, ...] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._both = bool(self.model.config.is_encoder_decoder)
        self._names = tuple(signature(self.model.forward).parameters)

    def on(self) -> None:
        """Begin to watch."""
        watched: list[tuple[nn.Module, Any, Any]] = [(self.model, self._begin, self._end)]
        if self._both:
            watched.append((self.model.get_encoder(), self._begin_encoder, self._end_encoder))  # type: ignore[no-untyped-call]
        for module, before, after in watched:
            self._hooks.append(module.register_forward_pre_hook(before, with_kwargs=True))
            self._hooks.append(module.register_forward_hook(after, with_kwargs=True, always_call=True))
        wrap(self.model, _NAME, self._generate)

    def off(self) -> None:
        """End, and forget every sequence."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        unwrap(self.model, _NAME)
        self.forget()

    def forget(self) -> None:
        """Sequences that were begun cannot go on: what is attached is no longer what decided on them."""
        self._sequences = WeakIdKeyDictionary()

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = {**dict(zip(self._names, args, strict=False)), **kwargs}
        self.current["decoder"] = self._answering(given) if self._both else self._reading(given)

    def _end(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        ended = self.current.pop("decoder", None)
        cache = kept_cache(output)
        if ended is not None and cache is not None and self._generation is None:
            self._sequences[cache] = ended.latched

    def _reading(self, given: Mapping[str, Any]) -> Pass:
        """The pass of a decoder, which reads the prompt itself."""
        ids = next(given[name] for name in ("input_ids", "inputs_embeds") if given.get(name) is not None)
        rows, width = ids.shape[:2]
        start = _length(cache_of(given))
        mask = given.get("attention_mask")
        if self._generation is not None:
            prompt = self._generation.rows(rows, lambda: _seen(mask, rows, start + width))
            return Pass(prompt.cpu(), start, width, self._generation.latched, ids.device)
        if start:
            nothing = torch.zeros(rows, 1, dtype=torch.bool)
            return Pass(nothing, start, width, self._begun(cache_of(given)), ids.device)
        return Pass(prompt_tokens(self.model, given, (rows, width)).cpu(), 0, width, Latched(), ids.device)

    def _answering(self, given: Mapping[str, Any]) -> Pass:
        """The pass of a decoder beside an encoder, which read the prompt: the start token stands for it."""
        names = ("decoder_input_ids", "decoder_inputs_embeds", "labels")
        ids = next(given[name] for name in names if given.get(name) is not None)
        rows, width = ids.shape[:2]
        start = _length(cache_of(given))
        encoded = given.get("encoder_outputs")
        if self._generation is not None:
            latched = self._generation.latched
        elif start:
            latched = self._begun(cache_of(given))
        else:
            read = self._sequences.get(encoded[0]) if encoded is not None else None
            latched = Latched() if read is None else read
        return Pass(torch.ones(rows, 1, dtype=torch.bool), start, width, latched, ids.device)

    def _begin_encoder(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = {**dict(zip(signature(module.forward).parameters, args, strict=False)), **kwargs}
        ids = next(given[name] for name in ("input_ids", "inputs_embeds") if given.get(name) is not None)
        rows, width = ids.shape[:2]
        outer = self.current.get("decoder")
        latched = outer.latched if outer is not None else Latched()
        latched = self._generation.latched if self._generation is not None else latched
        tokens = real_tokens(given.get("attention_mask"), (rows, width))
        self.current["encoder"] = Pass(tokens.cpu(), 0, width, latched, ids.device)

    def _end_encoder(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        ended = self.current.pop("encoder", None)
        if ended is not None and output is not None:
            self._sequences[output[0]] = ended.latched

    def _begun(self, cache: Any) -> Latched:
        """Raises `ConflictError` for a cache that was filled under other memories."""
        latched: Latched | None = self._sequences.get(cache)
        if latched is None:
            raise ConflictError(
                "this cache was filled while other patches were attached, so no decision was taken on its prompt",
                hint="begin again with the whole prompt and an empty cache",
            )
        return latched

    def _generate(self, given: dict[str, Any], call: Call) -> Any:
        # The prompt is read in one pass, by the hooks of this process, and whole: what another cache holds of it was
        # read under another decision.
        _set(given, prefill_chunk_size=None, disable_compile=True)
        if _length(cache_of(given)):
            drop_cache(given)
        before, self._generation = self._generation, Generation.of(given)
        try:
            return call(given)
        finally:
            self._generation = before


def _set(given: dict[str, Any], **settings: Any) -> None:
    """Set settings of a call of `generate`, where it has them."""
    config = given.get("generation_config")
    if config is None:
        given |= settings
        return
    given["generation_config"] = config = deepcopy(config)
    for name, value in settings.items():
        given.pop(name, None)
        setattr(config, name, value)


def _seen(mask: Any, rows: int, width: int) -> Tensor:
    """The prompts by what the first pass is given; a mask of another form than rows was made where no row is padded."""
    if isinstance(mask, Tensor) and mask.dim() == 2:
        return mask.bool().cpu()
    return torch.ones(rows, width, dtype=torch.bool)


def _length(cache: Any) -> int:
    return 0 if cache is None else int(cache.get_seq_length())
