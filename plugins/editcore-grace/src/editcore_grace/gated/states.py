"""What the layer reads: at the ends of the edits' prompts, and where the gate must not open."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import torch
from attrs import evolve
from torch import Tensor

from editcore.authoring.models import Item, Tap, Trace, encode_prompt, target_logits
from editcore_grace.gated.hparams import GatedHparams
from editcore_grace.training import read
from editcore_hooks import EditRequest, Site
from editcore_keyvalue.unrelated import other_subjects

if TYPE_CHECKING:
    from editcore_hooks import Session

LONGEST: Final = 32
"""Tokens of a passage that are read: each of them could end a prompt."""


def shut_states(session: "Session", requests: Sequence[EditRequest], site: Site, hparams: GatedHparams) -> Tensor:
    """States (n, d_in) for which the gate must not open, float32: beginnings of passages, and other subjects."""
    key = ("gated passages", site, hparams.passages)
    found = [session.cached(key, lambda: _passages(session, site, hparams.passages))]
    taken = {request.subject.strip() for request in requests}
    others = [
        evolve(request, subject=name)
        for request in requests
        for name in other_subjects(session, request, hparams.others)
        if name.strip() not in taken
    ]
    rows = [session.encode(request) for request in others]
    items = list(dict.fromkeys((tuple(row.prompt_ids), tuple(row.target_ids[:1])) for row in rows))
    if items:
        found.append(read(session, items, site).inputs)
    return torch.cat(found)


@torch.no_grad()
def _passages(session: "Session", site: Site, count: int) -> Tensor:
    """States of every token but the first of `count` passages, (n, d_in)."""
    both = session.encoder_decoder
    rows = [
        encode_prompt(session.tokenizer, text, encoder_decoder=both).ids for text in session.neutral.passages[:count]
    ]
    items: list[Item] = [(row[:LONGEST], row[:1]) for row in rows if len(row) > 1]
    if not items:
        return torch.zeros(0, session.anatomy.weight(site).shape[1], device=session.device)
    with Trace(session.anatomy, {site: Tap(input=True)}, stop=True) as trace:  # type: ignore[arg-type]
        target_logits(session.model, items)
    states = trace.input(site).float()  # (B, S, d), padded on the right
    return torch.cat([states[i, 1 : len(prompt)] for i, (prompt, _) in enumerate(items)])
