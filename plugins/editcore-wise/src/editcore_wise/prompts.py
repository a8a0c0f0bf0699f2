"""The rows of an edit: its prompt in contexts, and irrelevant prompts, which must not move."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import torch
from attrs import evolve

from editcore.authoring.models import Item, encode_prompt
from editcore_hooks import EditRequest
from editcore_keyvalue.alike import alike
from editcore_keyvalue.answers import answer
from editcore_keyvalue.contexts import contexts_for, in_context, made_up
from editcore_wise.hparams import WiseHparams
from editcore_wise.scale import texts

if TYPE_CHECKING:
    from editcore_hooks import Session

POOL: Final = 64
"""Texts, and subjects, among which the irrelevant prompts of an edit are drawn."""


def edit_rows(session: "Session", request: EditRequest, hparams: WiseHparams) -> list[Item]:
    """Ids of prompt and target, the bare prompt first."""
    contexts = contexts_for(session, hparams)
    return [answer(session, in_context(request, context), hparams.eos) for context in contexts]


def irrelevant_rows(
    session: "Session", request: EditRequest, hparams: WiseHparams, generator: torch.Generator
) -> list[Sequence[int]]:
    """Ids of the prompts that the settings give; else of texts that the base writes, and of the same question about
    known names and subjects that the base makes up. They are drawn for each edit from `POOL` of each, so that the edits
    of a shard spare many."""
    if hparams.irrelevant:
        return ids_of(session, hparams.irrelevant)
    written = _drawn(texts(session, POOL, hparams.context_length), hparams.irrelevant_count, generator)
    pool = [*alike(request, POOL), *made_up(session, POOL)] if hparams.other_count else []
    names = _drawn([name for name in pool if name != request.subject.strip()], hparams.other_count, generator)
    return [*ids_of(session, written), *about(session, request, names)]


def about(session: "Session", request: EditRequest, names: Sequence[str]) -> list[Sequence[int]]:
    """Ids of the request's prompt about others."""
    prompts = [evolve(request, subject=name).rendered().text for name in names]
    return [encode_prompt(session.tokenizer, text, template=request.template).prompt_ids for text in prompts]


def _drawn(pool: Sequence[str], count: int, generator: torch.Generator) -> list[str]:
    order = torch.randperm(len(pool), generator=generator)[:count].tolist()
    return [pool[i] for i in order]


def ids_of(session: "Session", prompts: Sequence[str]) -> list[Sequence[int]]:
    """Ids of literal prompts."""
    return [encode_prompt(session.tokenizer, text).prompt_ids for text in prompts]
