"""Texts before the prompt, so that key and value hold in any context. Sampled from the unedited model, seeded.

Meng et al. 2022 (ROME), appendix E.5: ten continuations of five tokens and ten of ten, and the prompt alone.
"""

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

import attrs
import torch

from editcore.authoring.models import render_chat, sample
from editcore_hooks import ChatTemplate, EditRequest, Rendered, UsageError, render
from editcore_keyvalue.hparams import KeyValueHparams

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from editcore_hooks import Session

CLEAN: Final = "{}"
HALF: Final = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer writes for bytes that are not a whole character."""
TOP_K: Final = 5
INSTRUCTIONS: Final = ("Complete the sentence.", "Tell me a fact.", "What do you know?", "Go on.")
"""The user's text in chat contexts: neutral, so that any fact fits. The reply begins with the prompt."""


def sample_contexts(session: "Session", lengths: Sequence[int], per_length: int) -> tuple[str, ...]:
    """`{}` first, then `per_length` sampled templates `TEXT. {}` of each length (tokens, the start included)."""
    generator = torch.Generator().manual_seed(session.seed)
    contexts = [CLEAN]
    with session.at_base():
        for length in lengths if per_length else ():
            starts = [[session.start_token]] * per_length
            rows = sample(session.model, starts, length - 1, TOP_K, generator)
            contexts += [as_template(session.tokenizer.decode(row, skip_special_tokens=True)) for row in rows]
    return tuple(contexts)


def contexts_of(session: "Session", hparams: KeyValueHparams, requests: Sequence[EditRequest]) -> tuple[str, ...]:
    """The contexts that these settings ask for: those given, else sampled ones and chats, the same all session long.

    There are no chats where one of `requests` is put into the chat template itself.
    """
    if hparams.context_templates:
        return check_contexts(hparams.context_templates)
    sampled = _sampled(session, hparams.context_lengths, hparams.context_count)
    chats = () if any(map(is_chat, requests)) else chat_contexts(session.tokenizer, hparams.context_chat)
    return (*sampled, *chats)


class ContextSettings(Protocol):
    """The settings of a method that trains each prompt in contexts of one length."""

    @property
    def context_templates(self) -> tuple[str, ...]: ...
    @property
    def context_count(self) -> int: ...
    @property
    def context_length(self) -> int: ...


def contexts_for(session: "Session", hparams: ContextSettings) -> tuple[str, ...]:
    """The contexts that the settings name or have sampled, the same all session long; at least the clean one.

    It is the only one beside an encoder, where the model writes no text of its own.
    """
    if hparams.context_templates:
        return check_contexts(hparams.context_templates)
    if not hparams.context_count or session.encoder_decoder:
        return (CLEAN,)
    return _sampled(session, (hparams.context_length,), hparams.context_count)


def _sampled(session: "Session", lengths: tuple[int, ...], count: int) -> tuple[str, ...]:
    key = ("contexts", session.seed, lengths, count)
    return session.cached(key, lambda: sample_contexts(session, lengths, count), base=True)


def is_chat(request: EditRequest) -> bool:
    """Whether the prompt is put into the chat template."""
    return request.template is not None and request.template.chat


def chat_contexts(tokenizer: "PreTrainedTokenizerBase", count: int) -> tuple[str, ...]:
    """`count` chats at most, in each of which the reply begins with the prompt; none without a chat template.

    A context is read as any text, so it does not begin with the token that the tokenizer puts before a text.
    """
    if not getattr(tokenizer, "chat_template", None):
        return ()
    first: list[int] = tokenizer("").input_ids
    start = str(tokenizer.bos_token) if first and first[0] == tokenizer.bos_token_id else ""
    found = []
    for instruction in INSTRUCTIONS[:count]:
        text = render_chat(tokenizer, Rendered(instruction, None, None), ChatTemplate()).text
        found.append(text.removeprefix(start).replace("{", "{{").replace("}", "}}") + CLEAN)
    return tuple(found)


def beginnings(session: "Session", count: int) -> tuple[str, ...]:
    """`count` sampled beginnings of sentences, `TEXT {}`, of two to six tokens: a subject amid a sentence."""

    def make() -> tuple[str, ...]:
        generator = torch.Generator().manual_seed(session.seed + 1)
        found: list[str] = []
        with session.at_base():
            for length in (2, 3, 4, 6):
                rows = sample(session.model, [[session.start_token]] * -(-count // 4), length, None, generator)
                found += [as_beginning(session.tokenizer.decode(row, skip_special_tokens=True)) for row in rows]
        return tuple(found[:count])

    return session.cached(("beginnings", session.seed, count), make, base=True) if count else ()


def made_up(session: "Session", count: int) -> tuple[str, ...]:
    """At most `count` subjects that nobody has: beginnings of sentences that the unedited model writes.

    One that ends within a character, or has no letter, is left out: its tokens could not be found again.
    """
    names = dict.fromkeys(each.removesuffix(CLEAN).strip() for each in beginnings(session, count))
    return tuple(name for name in names if any(map(str.isalpha, name)) and HALF not in name)


def as_beginning(text: str) -> str:
    """A sampled text as a template with the subject right after it."""
    return as_template(text).replace(f". {CLEAN}", f" {CLEAN}")


def as_template(text: str) -> str:
    """A sampled text as a template: normalised, on one line, free of braces, closed by a full stop."""
    text = unicodedata.normalize("NFKD", text).replace("{", " ").replace("}", " ")
    text = " ".join(text.split())
    return f"{text}. {CLEAN}" if text else CLEAN


def check_contexts(contexts: Sequence[str]) -> tuple[str, ...]:
    """Given templates, with `{}` put first when it is missing. Raises `UsageError` on one without `{}`."""
    for context in contexts:
        if render(context, "").start is None:
            raise UsageError(f"the context {context!r} has no {{}}", hint="write one template a line, like 'So. {}'")
    rest = tuple(context for context in contexts if context != CLEAN)
    return (CLEAN, *rest)


def in_context(request: EditRequest, context: str) -> EditRequest:
    """The request with `context` around its prompt."""
    before, after = render(context, "\0").text.replace("{", "{{").replace("}", "}}").split("\0")
    return attrs.evolve(request, prompt=before + request.prompt + after)
