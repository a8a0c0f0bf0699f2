"""Contexts: texts that state the fact, given, made from templates, or written by the model. Seeded."""

from typing import TYPE_CHECKING, Final

import torch

from editcore.authoring.models import decode, end_ids, joined_target, render_chat, sample, tokenise
from editcore_hooks import ChatTemplate, EditRequest, Rendered, UsageError, render
from editcore_ice.hparams import IceHparams
from editcore_keyvalue.contexts import in_context

if TYPE_CHECKING:
    from editcore_hooks import Session

TOP_K: Final = 20
ASKED: Final = "Say this in other words: {}"


def contexts_of(session: "Session", request: EditRequest, hparams: IceHparams, seed: int) -> tuple[str, ...]:
    """The texts to put before the prompt; one empty text without contexts. Raises `UsageError`."""
    if not hparams.in_context:
        return ("",)
    source = hparams.context_source
    if source == "auto":
        source = "case" if request.contexts else "templates"
    if source == "case":
        if not request.contexts:
            message = f"the request {request.id or request.prompt!r} has no contexts"
            raise UsageError(message, hint='give "contexts": [...] in the file, or --set context_source=templates')
        return request.contexts[: hparams.context_count]
    fact = sentence(request)
    if source == "model":
        return _written(session, fact, hparams, seed)
    templates = hparams.context_templates[: hparams.context_count]
    if not templates or any(render(template, "").start is None for template in templates):
        raise UsageError("a context template has no {}", hint="write one template a line, like 'Note: {}'")
    return tuple(render(template, fact).text for template in templates)


def sentence(request: EditRequest) -> str:
    """The prompt with its new target, closed by a full stop."""
    prompt = request.rendered().text
    text = prompt + joined_target(prompt, request.target_new, request.target_prefix)
    return text if text.rstrip()[-1:] in ".!?。！？" else f"{text.rstrip()}."


def with_context(request: EditRequest, context: str) -> EditRequest:
    """The request with the context before its prompt, in the same turn of a chat."""
    if not context:
        return request
    return in_context(request, context.replace("{", "{{").replace("}", "}}") + " {}")


def _written(session: "Session", fact: str, hparams: IceHparams, seed: int) -> tuple[str, ...]:
    """The fact and what the model makes of it, up to its last full stop. Each draw is on its own."""
    if session.encoder_decoder:
        raise UsageError("an encoder-decoder writes no contexts", hint="--set context_source=templates")
    tokenizer = session.tokenizer
    chat = ChatTemplate() if getattr(tokenizer, "chat_template", None) else None
    if chat is None:
        start = tokenise(tokenizer, fact).ids
    else:
        asked = render_chat(tokenizer, Rendered(ASKED.replace("{}", fact), None, None), chat).text
        start = tokenise(tokenizer, asked, special=False).ids
    generator = torch.Generator().manual_seed(seed)
    rows = sample(session.model, [start] * hparams.context_count, hparams.context_length, TOP_K, generator)
    ends = {*end_ids(tokenizer, chat), *end_ids(tokenizer)}
    texts = []
    for row in rows:
        kept = row[: next((i for i, token in enumerate(row) if token in ends), len(row))]
        written = " ".join(decode(tokenizer, tuple(kept)).split())
        texts.append(f"{fact} {written[: written.rfind('.') + 1] or written}".rstrip())
    return tuple(texts)
