"""Prompt memories on a model that is called by others: a plain forward, and `model.generate`."""

from copy import deepcopy
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from attrs import define, field
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from editcore.models.running.batch import Rewritten, rewritten
from editcore.models.running.cache_names import cache_of, drop_cache
from editcore.models.running.generate_calls import Call, unwrap, wrap
from editcore.models.running.prompt_ends import last_true, prompt_tokens, real_tokens
from editcore.models.running.rewriting import Rewrite, as_given, rewriting, set_rewriting
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NAME = "a: prompts"
"""Outermost, so that decisions are taken on what is read."""


@define(eq=False)
class PromptHooks:
    """Rewrites the prompts of a model between `on` and `off`."""

    model: "PreTrainedModel"
    rewrite: Rewrite
    _hooks: list[RemovableHandle] = field(factory=list)
    _columns: Tensor | None = None
    _both: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._both = bool(self.model.config.is_encoder_decoder)

    def on(self) -> None:
        """Begin."""
        set_rewriting(self.model, self.rewrite)
        self._hooks = [
            self.model.register_forward_pre_hook(self._before, with_kwargs=True, prepend=True),
            self.model.register_forward_hook(self._after, with_kwargs=True, always_call=True),
        ]
        wrap(self.model, _NAME, self._generate)

    def off(self) -> None:
        """End."""
        set_rewriting(self.model, None)
        for hook in self._hooks:
            hook.remove()
        unwrap(self.model, _NAME)

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A plain forward reads the rewritten rows; its logits are given back at the columns that were asked."""
        self._columns = None
        if rewriting(self.model) is None:
            return None
        given = {**dict(zip(signature(self.model.forward).parameters, args, strict=False)), **kwargs}
        cache = cache_of(given)
        if cache is not None and cache.get_seq_length():
            raise UsageError(
                "a memory rewrites prompts, and a forward pass with a filled cache has no prompt",
                hint="let model.generate write",
            )
        ids = given.get("input_ids")
        if ids is None or given.get("encoder_outputs") is not None:
            return None
        shape = (ids.shape[0], ids.shape[1])
        tokens = real_tokens(given.get("attention_mask"), shape).to(ids.device)
        prompt = tokens if self._both else prompt_tokens(self.model, given, shape).to(ids.device)
        found = rewritten(self.model, ids, tokens, last_true(prompt))
        given |= {"input_ids": found.batch.ids, "attention_mask": found.batch.mask}
        if not self._both:
            self._columns = found.columns
            given.pop("position_ids", None)
            if "position_ids" in signature(self.model.forward).parameters:
                given["position_ids"] = found.batch.positions
            if given.get("labels") is not None:
                given["labels"] = _moved(given["labels"], tokens, found)
        return (), given

    def _after(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        columns, self._columns = self._columns, None
        if columns is not None and output is not None and getattr(output, "logits", None) is not None:
            output.logits = output.logits.gather(1, columns[..., None].expand(-1, -1, output.logits.shape[-1]))
        return output

    def _generate(self, given: dict[str, Any], call: Call) -> Any:
        name = next((name for name in ("inputs", "input_ids") if given.get(name) is not None), None)
        if name is None or rewriting(self.model) is None:
            return call(given)
        ids = given[name]
        tokens = real_tokens(given.get("attention_mask"), (ids.shape[0], ids.shape[1])).to(ids.device)
        found = rewritten(self.model, ids, tokens, None, side="right" if self._both else "left")
        longer = 0 if self._both else found.batch.ids.shape[1] - ids.shape[1]
        given |= {name: found.batch.ids, "attention_mask": found.batch.mask}
        drop_cache(given)
        _lengthen(self.model, given, longer)
        with as_given(self.model):
            made = call(given)
        if self._both:
            return made
        sequences = made if isinstance(made, Tensor) else made.sequences
        begin = ids.repeat_interleave(len(sequences) // len(ids), 0)
        whole = torch.cat([begin, sequences[:, found.batch.ids.shape[1] :]], 1)
        if isinstance(made, Tensor):
            return whole
        made.sequences = whole
        return made


def _moved(labels: Tensor, tokens: Tensor, found: Rewritten) -> Tensor:
    """The labels at the columns to which their tokens moved; what was put in has none."""
    moved = torch.full_like(found.batch.ids, -100)
    rows, columns = tokens.nonzero(as_tuple=True)
    moved[rows, found.columns[rows, columns]] = labels[rows, columns]
    return moved


def _lengthen(model: "PreTrainedModel", given: dict[str, Any], by: int) -> None:
    """A largest length counts the prompt as it was given."""
    if given.get("max_length") is not None:
        given["max_length"] += by
    config = given.get("generation_config")
    if config is not None and config.max_length is not None:
        given["generation_config"] = config = deepcopy(config)
        config.max_length += by
