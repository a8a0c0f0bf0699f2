"""Prompt, subject and target as token ids, from one joint tokenisation. Nothing else tokenises a request.

An encoder-decoder reads the prompt in its encoder and says the target in its decoder: two texts, each tokenised by
itself with the end that the tokenizer puts after a text, which the decoder is to say too. `encoder_decoder=True` asks
for that; it is `model.config.is_encoder_decoder`, and `Session.encode` passes it.
"""

from typing import TYPE_CHECKING

from attrs import frozen

from editcore.models.tokens.alignment import subject_tokens
from editcore.models.tokens.chat import render_chat
from editcore.models.tokens.scripts import joins_without_blank
from editcore.models.tokens.tokenising import continuation, tokenise
from editcore_hooks import ChatTemplate, EditRequest, Rendered, UsageError, mark_subject, render
from editcore_hooks.requests import TargetPrefix

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@frozen
class Encoded:
    """Token ids of a prompt and its target; `subject` and `target` are ranges of indices into `ids`.

    `target` is empty, and stands at the end, when there is none: `ids[: target.start]` is always the prompt.
    `subject` is None where the prompt marks none. `text` is what `ids` stand for; of two texts, the prompt.
    `encoder_decoder` says that they are two: `prompt_ids` go to the encoder, `target_ids` are the decoder's labels.
    `trail` counts the special tokens that end the prompt.
    """

    text: str
    ids: tuple[int, ...]
    subject: range | None
    target: range
    encoder_decoder: bool = False
    trail: int = 0

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """The input of a model before its answer."""
        return self.ids[: self.target.start]

    @property
    def target_ids(self) -> tuple[int, ...]:
        """The expected answer."""
        return self.ids[self.target.start :]


def encode(
    tokenizer: "PreTrainedTokenizerBase",
    prompt: str,
    subject: str,
    target: str | None = None,
    *,
    template: ChatTemplate | None = None,
    target_prefix: TargetPrefix = "auto",
    encoder_decoder: bool = False,
) -> Encoded:
    """Tokenise a prompt with the subject at its `{}`, or where it occurs once, and the target after it.

    Special tokens are those that the tokenizer puts before a text; none with a chat template, which holds its own.
    Raises `UsageError` when the subject is not there once, or its tokens cannot be told.
    """
    marked = render(mark_subject(prompt, subject), subject)
    return _encode(tokenizer, marked, target, template, target_prefix, encoder_decoder)


def encode_request(
    tokenizer: "PreTrainedTokenizerBase", request: EditRequest, *, encoder_decoder: bool = False
) -> Encoded:
    """Tokenise a request with its new target. Raises `UsageError` as `encode` does."""
    prompt, target, template = request.rendered(), request.target_new, request.template
    return _encode(tokenizer, prompt, target, template, request.target_prefix, encoder_decoder)


def encode_prompt(
    tokenizer: "PreTrainedTokenizerBase",
    prompt: str,
    target: str | None = None,
    template: ChatTemplate | None = None,
    target_prefix: TargetPrefix = "auto",
    *,
    encoder_decoder: bool = False,
) -> Encoded:
    """Tokenise a literal prompt, which marks no subject, and the target after it. Raises `UsageError`."""
    return _encode(tokenizer, Rendered(prompt, None, None), target, template, target_prefix, encoder_decoder)


def _encode(
    tokenizer: "PreTrainedTokenizerBase",
    prompt: Rendered,
    target: str | None,
    template: ChatTemplate | None,
    target_prefix: TargetPrefix,
    encoder_decoder: bool,
) -> Encoded:
    in_chat = template is not None and template.chat
    if template is not None and in_chat:
        prompt = render_chat(tokenizer, prompt, template)
    tokens = tokenise(tokenizer, prompt.text, special=not in_chat, closed=encoder_decoder)
    span = None
    if prompt.start is not None and prompt.end is not None:
        span = subject_tokens(tokenizer, tokens, prompt.text, prompt.start, prompt.end)
    n = len(tokens.ids)
    if target is None:
        return Encoded(prompt.text, tokens.ids, span, range(n, n), encoder_decoder, tokens.trail)
    if encoder_decoder:
        ids = tokens.ids + _labels(tokenizer, target)
        return Encoded(prompt.text, ids, span, range(n, len(ids)), encoder_decoder, tokens.trail)
    more = joined_target(prompt.text, target, target_prefix, in_chat=in_chat)
    ids = tokens.ids + continuation(tokenizer, tokens, prompt.text, more)
    return Encoded(prompt.text + more, ids, span, range(n, len(ids)))


def _labels(tokenizer: "PreTrainedTokenizerBase", target: str) -> tuple[int, ...]:
    """The expected text of a decoder with its own text: the target and its end token."""
    if not target.strip():
        raise UsageError("the target is empty", hint="say what the model should answer")
    tokens = tokenise(tokenizer, target.strip(), closed=True)
    if tokens.trail or tokenizer.eos_token_id is None:
        return tokens.ids
    return (*tokens.ids, int(tokenizer.eos_token_id))


def joined_target(text: str, target: str, target_prefix: TargetPrefix, *, in_chat: bool = False) -> str:
    """The text after the prompt: the joining text and the target, by the rules of `EditRequest`.

    `blank` gives exactly one blank, whether prompt or target bring one or not.
    """
    if not target.strip():
        raise UsageError(f"the target of {text!r} is empty", hint="say what the model should answer")
    ends_blank = text[-1:].isspace()
    if target_prefix == "blank":
        return target.lstrip() if ends_blank else f" {target.lstrip()}"
    if target_prefix == "none" or in_chat or ends_blank or target[0].isspace() or joins_without_blank(text, target):
        return target
    return f" {target}"


def token_index(encoded: Encoded, strategy: str) -> int:
    """The index of the token that a strategy names: `subject_last`, `subject_first`, or `last` of the prompt's text."""
    if strategy == "last":
        return encoded.target.start - 1 - encoded.trail
    if strategy not in ("subject_last", "subject_first"):
        raise UsageError(f"{strategy!r} names no token", hint="choose subject_last, subject_first or last")
    if encoded.subject is None:
        raise UsageError(f"no subject is marked in {encoded.text!r}", hint="mark it with {}")
    return encoded.subject[-1] if strategy == "subject_last" else encoded.subject[0]
