"""Prompt, subject and target as token ids, from one joint tokenisation. Nothing else tokenises a request."""

from typing import TYPE_CHECKING

from attrs import frozen

from editcore.models.alignment import subject_tokens
from editcore.models.chat import render_chat
from editcore.models.tokens import continuation, tokenise
from editcore_hooks import ChatTemplate, EditRequest, Rendered, UsageError, mark_subject, render
from editcore_hooks.requests import TargetPrefix

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@frozen
class Encoded:
    """Token ids of a prompt and its target; `subject` and `target` are ranges of indices into `ids`.

    `target` is empty, and stands at the end, when there is none: `ids[: target.start]` is always the prompt.
    `subject` is None where the prompt marks none. `text` is what `ids` stand for.
    """

    text: str
    ids: tuple[int, ...]
    subject: range | None
    target: range

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """What a model is given before it answers."""
        return self.ids[: self.target.start]

    @property
    def target_ids(self) -> tuple[int, ...]:
        """What it should answer."""
        return self.ids[self.target.start :]


def encode(
    tokenizer: "PreTrainedTokenizerBase",
    prompt: str,
    subject: str,
    target: str | None = None,
    *,
    template: ChatTemplate | None = None,
    target_prefix: TargetPrefix = "auto",
) -> Encoded:
    """Tokenise a prompt with the subject at its `{}`, or where it occurs once, and the target after it.

    Special tokens are those that the tokenizer puts before a text; none with a chat template, which holds its own.
    Raises `UsageError` when the subject is not there once, or its tokens cannot be told.
    """
    return _encode(tokenizer, render(mark_subject(prompt, subject), subject), target, template, target_prefix)


def encode_request(tokenizer: "PreTrainedTokenizerBase", request: EditRequest) -> Encoded:
    """Tokenise a request with its new target. Raises `UsageError` as `encode` does."""
    return _encode(tokenizer, request.rendered(), request.target_new, request.template, request.target_prefix)


def encode_prompt(
    tokenizer: "PreTrainedTokenizerBase",
    prompt: str,
    target: str | None = None,
    template: ChatTemplate | None = None,
    target_prefix: TargetPrefix = "auto",
) -> Encoded:
    """Tokenise a literal prompt, which marks no subject, and the target after it. Raises `UsageError`."""
    return _encode(tokenizer, Rendered(prompt, None, None), target, template, target_prefix)


def _encode(
    tokenizer: "PreTrainedTokenizerBase",
    prompt: Rendered,
    target: str | None,
    template: ChatTemplate | None,
    target_prefix: TargetPrefix,
) -> Encoded:
    in_chat = template is not None and template.chat
    if template is not None and in_chat:
        prompt = render_chat(tokenizer, prompt, template)
    tokens = tokenise(tokenizer, prompt.text, special=not in_chat)
    span = None
    if prompt.start is not None and prompt.end is not None:
        span = subject_tokens(tokenizer, tokens, prompt.text, prompt.start, prompt.end)
    n = len(tokens.ids)
    if target is None:
        return Encoded(prompt.text, tokens.ids, span, range(n, n))
    more = joined_target(prompt.text, target, target_prefix, in_chat=in_chat)
    ids = tokens.ids + continuation(tokenizer, tokens, prompt.text, more)
    return Encoded(prompt.text + more, ids, span, range(n, len(ids)))


def joined_target(text: str, target: str, target_prefix: TargetPrefix, *, in_chat: bool = False) -> str:
    """What follows the prompt: the target behind what joins it, by the rules of `EditRequest`.

    `blank` gives exactly one blank, whether prompt or target bring one or not.
    """
    if not target.strip():
        raise UsageError(f"the target of {text!r} is empty", hint="say what the model should answer")
    ends_blank = text[-1:].isspace()
    if target_prefix == "blank":
        return target.lstrip() if ends_blank else f" {target.lstrip()}"
    if target_prefix == "none" or in_chat or ends_blank or target[0].isspace():
        return target
    return f" {target}"


def token_index(encoded: Encoded, strategy: str) -> int:
    """The index of the token that a strategy names: `subject_last`, `subject_first`, or `last` of the prompt."""
    if strategy == "last":
        return encoded.target.start - 1
    if strategy not in ("subject_last", "subject_first"):
        raise UsageError(f"{strategy!r} names no token", hint="choose subject_last, subject_first or last")
    if encoded.subject is None:
        raise UsageError(f"no subject is marked in {encoded.text!r}", hint="mark it with {}")
    return encoded.subject[-1] if strategy == "subject_last" else encoded.subject[0]
