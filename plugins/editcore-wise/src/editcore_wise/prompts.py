"""The rows of an edit: its prompt in contexts, and irrelevant prompts, which must not move."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from editcore.authoring.models import Item, encode_prompt, encode_request
from editcore_hooks import EditRequest
from editcore_keyvalue.contexts import contexts_for, in_context, made_up
from editcore_wise.hparams import WiseHparams
from editcore_wise.scale import texts

if TYPE_CHECKING:
    from editcore_hooks import Session


def edit_rows(session: "Session", request: EditRequest, hparams: WiseHparams) -> list[Item]:
    """Ids of prompt and target, the bare prompt first."""
    encoded = [session.encode(in_context(request, context)) for context in contexts_for(session, hparams)]
    return [(row.prompt_ids, row.target_ids) for row in encoded]


def irrelevant_rows(session: "Session", request: EditRequest, hparams: WiseHparams) -> list[Sequence[int]]:
    """Ids of the prompts that the settings give; else of texts that the base writes, and of the same question about
    subjects that it makes up."""
    if hparams.irrelevant:
        return ids_of(session, hparams.irrelevant)
    rows = ids_of(session, texts(session, hparams.irrelevant_count, hparams.context_length))
    names = [name for name in made_up(session, hparams.other_count) if name != request.subject.strip()]
    others = [encode_request(session.tokenizer, evolve(request, subject=name)).prompt_ids for name in names]
    return [*rows, *others]


def ids_of(session: "Session", prompts: Sequence[str]) -> list[Sequence[int]]:
    """Ids of literal prompts."""
    return [encode_prompt(session.tokenizer, text).prompt_ids for text in prompts]
