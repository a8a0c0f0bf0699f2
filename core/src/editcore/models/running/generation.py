"""Let a model write: greedily for people and measures, sampled with a seed for contexts and corpora."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from editcore.models.loading.offload import device_of
from editcore.models.loading.quiet import quiet
from editcore.models.running.batch import accepted, decoder_start, pad
from editcore.models.running.cache_names import as_cache, kept_cache
from editcore.models.running.finite import refuse_not_finite
from editcore.models.running.packed_reading import Around
from editcore.models.tokens.tokenising import decode, tokenise
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PAD_ID = 0


def generate(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[str | Sequence[int]],
    max_new_tokens: int,
    *,
    batch_size: int = 16,
    stop: str = "",
) -> list[str]:
    """The greedy continuation of each prompt, a text or token ids, without the prompt and without special tokens.

    An encoder-decoder answers a prompt with a text of its own. Ends at the model's or the tokenizer's end of text, and
    soon after `stop` is written, which the text then holds. A folder's own generation settings (penalties, sampling)
    are not used: they would measure the settings. Raises `EditcoreError` for a model that gives NaN.
    """
    both = bool(model.config.is_encoder_decoder)
    rows = [tokenise(tokenizer, each, closed=both).ids if isinstance(each, str) else tuple(each) for each in prompts]
    new = continuations(model, tokenizer, rows, max_new_tokens, batch_size=batch_size, strict=True, stop=stop)
    return [shown(tokenizer, () if both else row, ids) for row, ids in zip(rows, new, strict=True)]


def continuations(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[tuple[int, ...]],
    max_new_tokens: int,
    *,
    batch_size: int = 16,
    around: Around | None = None,
    strict: bool = False,
    stop: str = "",
) -> list[tuple[int, ...]]:
    """The new ids of what `generate` writes after token rows. `around(indices)` is entered for each batch of rows.

    Raises `EditcoreError` where a weight holds NaN. A model whose weights are finite and whose activations overflow is
    an outcome that can be measured, such as that of a bad edit; with `strict` it is refused too.
    """
    ends = _ends(model, tokenizer)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    found: dict[int, tuple[int, ...]] = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        with around(chosen) if around is not None else nullcontext():
            some = [rows[i] for i in chosen]
            stopping = StoppingCriteriaList([_Written(tokenizer, some, model, stop)] if stop else [])
            found |= zip(chosen, _greedy(model, some, max_new_tokens, ends, strict, stopping), strict=True)
    return [found[i] for i in range(len(rows))]


def sample(
    model: "PreTrainedModel",
    starts: Sequence[Sequence[int]],
    length: int,
    top_k: int | None,
    generator: torch.Generator,
    proceed: Callable[[int], bool] = lambda drawn: True,
) -> list[list[int]]:
    """Sample `length` new tokens after each start, from the `top_k` likeliest (None: from all) at temperature 1.

    Returns the new ids alone: texts that an edit may be computed with, unlike `Session.neutral`. No token ends a row
    early; `proceed` ends all rows once it is False for the number of tokens drawn so far. Draws come from `generator`,
    a CPU generator, in one call a step for the whole batch: the same seed and starts give the same rows. The global RNG
    is not touched. Raises `UsageError` for an encoder-decoder, which answers a text and does not continue it.
    """
    if model.config.is_encoder_decoder:
        raise UsageError(
            f"{model.config.model_type} has an encoder and a decoder, so no text can be sampled from a start",
            hint="choose a method that supports encoder-decoders",
        )

    def draw(logits: torch.Tensor) -> torch.Tensor:  # (B, V) → (B,)
        logits = logits.float().cpu()
        if not bool(logits.amax().isfinite()):
            refuse_not_finite(model, starts)
        if top_k is None:
            return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
        values, indices = logits.topk(min(top_k, logits.shape[-1]), dim=-1)  # (B, k)
        picked = torch.multinomial(values.softmax(-1), 1, generator=generator)  # (B, 1)
        return indices.gather(-1, picked)[:, 0]

    takes, device = accepted(model), device_of(model)
    batch = pad(starts, PAD_ID, side="left").to(device)
    ids, mask, positions = batch.ids, batch.mask, batch.positions
    cache: Any = None
    drawn: list[torch.Tensor] = []
    with torch.no_grad():
        for step in range(length):
            if not proceed(step):
                break
            options: dict[str, Any] = {"position_ids": positions} if "position_ids" in takes else {}
            if "logits_to_keep" in takes:
                options["logits_to_keep"] = 1
            output = model(input_ids=ids, attention_mask=mask, use_cache=True, **as_cache(model, cache), **options)
            drawn.append(draw(output.logits[:, -1]))
            cache = kept_cache(output)
            ids = drawn[-1][:, None].to(device)  # (B, 1)
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)  # (B, T + 1)
            positions = positions[:, -1:] + 1  # (B, 1)
    return torch.stack(drawn, dim=1).tolist() if drawn else [[] for _ in starts]  # (B, length)


def _ends(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return sorted({each for each in (*ids, tokenizer.eos_token_id) if isinstance(each, int)})


def _greedy(
    model: "PreTrainedModel",
    rows: Sequence[Sequence[int]],
    max_new_tokens: int,
    ends: list[int],
    strict: bool,
    stopping: StoppingCriteriaList,
) -> list[tuple[int, ...]]:
    both = bool(model.config.is_encoder_decoder)
    batch = pad(rows, PAD_ID, side="right" if both else "left").to(device_of(model))  # (B, T)
    settings = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=ends or None, pad_token_id=PAD_ID, use_cache=True,
        decoder_start_token_id=decoder_start(model) if both else None,
    )  # fmt: skip
    finite = _Finite()
    watching = LogitsProcessorList([finite])
    with torch.no_grad(), quiet(), _own_settings(model, settings):
        ids: Any = model.generate(  # type: ignore[operator]
            batch.ids, attention_mask=batch.mask, logits_processor=watching, stopping_criteria=stopping
        )
    given = 1 if both else batch.ids.shape[1]  # a decoder of its own was given its start alone
    new = ids[:, given:].tolist()
    if not finite.all:
        read = rows if both else [(*row, *more) for row, more in zip(rows, new, strict=True)]
        refuse_not_finite(model, read, weights_only=not strict)
    return [_until(row, ends) for row in new]


class _Written(StoppingCriteria):
    """Ends a row whose new tokens hold the text `stop`."""

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Sequence[int]], model: "PreTrainedModel", stop: str
    ) -> None:
        self.tokenizer, self.stop = tokenizer, stop
        self.given = 1 if model.config.is_encoder_decoder else max(map(len, rows))

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        texts = [decode(self.tokenizer, row) for row in input_ids[:, self.given :].tolist()]
        return torch.tensor([self.stop in text for text in texts], device=input_ids.device)  # type: ignore[return-value]


class _Finite(LogitsProcessor):
    """Notes whether every logit was finite, and changes none: the largest is NaN where one is."""

    def __init__(self) -> None:
        self.all = True

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        self.all = self.all and bool(scores.amax().isfinite())
        return scores


def shown(tokenizer: "PreTrainedTokenizerBase", prompt: tuple[int, ...], new: tuple[int, ...]) -> str:
    """The text of new ids, decoded after their prompt: alone, a first token loses its blank in some tokenizers."""
    before, whole = (str(tokenizer.decode(list(ids), skip_special_tokens=True)) for ids in (prompt, prompt + new))
    return whole[len(before) :] if whole.startswith(before) else decode(tokenizer, new)


def _until(ids: list[int], ends: list[int]) -> tuple[int, ...]:
    """The ids before the first end: a row that ended is filled up to the longest of its batch."""
    return tuple(ids[: next((i for i, token in enumerate(ids) if token in ends), len(ids))])


@contextmanager
def _own_settings(model: "PreTrainedModel", settings: GenerationConfig) -> Iterator[None]:
    """transformers fills what settings leave open from those of the folder; so there is nothing to fill from."""
    theirs = model.generation_config
    model.generation_config = settings
    try:
        yield
    finally:
        model.generation_config = theirs
