"""The update of a method that edits in the prompt: texts of the facts, and their vectors. Nothing is trained."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from editcore.authoring.records import record_parts
from editcore_hooks import EditRequest, Payload, Update, UsageError
from editcore_ike.demonstrations import demonstrations, fact, joined, read_corpus
from editcore_ike.encoding import Encode, chosen, own
from editcore_ike.hparams import IkeHparams, RetrievalHparams

if TYPE_CHECKING:
    from editcore_hooks import Session

CENTRE = 32
"""Neutral passages whose mean is the centre of a model's own states, which all lie in one direction."""


def compute_update(session: "Session", requests: Sequence[EditRequest], hparams: RetrievalHparams, form: str) -> Update:
    """One update with the facts of all requests, in the order of their texts."""
    if not requests:
        raise UsageError("there is nothing to edit", hint="give at least one request")
    encode, encoder, centre = _space(session, hparams)
    facts = sorted({(one.rendered().text, one.target_new) for one in requests})
    for (one, first), (two, second) in pairwise(facts):
        if one == two:
            raise UsageError(
                f"two requests answer {one!r} with {first!r} and {second!r}",
                hint="write one patch a request (-o FOLDER); the later replaces the earlier",
            )
    vectors = encode([joined(*each) for each in facts])  # (N, e)
    before = _before(session, encode, vectors, centre, hparams)
    texts = record_parts([(*each, text) for each, text in zip(facts, before, strict=True)])
    data = {"form": form, "facts": hparams.facts, "floor": hparams.floor, "encoder": encoder}
    kind = "ike.facts" if isinstance(encoder, int) else "ike.texts"
    return Update(payload=Payload(kind, data, {**texts, "vectors": vectors.float(), "centre": centre.float()}))


def _space(session: "Session", hparams: RetrievalHparams) -> tuple[Encode, Any, Tensor]:
    """What texts are compared by: the encoder, what the patch keeps of it, and the centre (e,)."""
    if hparams.encoder is not None:
        encode, kept = chosen(hparams.encoder)
        return encode, kept, torch.zeros_like(encode(["a"])[0])
    layer = session.anatomy.n_layers // 2
    encode = own(session, layer)
    passages = list(session.neutral.passages)[:CENTRE]
    return encode, layer, encode([passage[:200] for passage in passages]).mean(0)


def _before(
    session: "Session", encode: Encode, vectors: Tensor, centre: Tensor, hparams: RetrievalHparams
) -> list[str]:
    """The demonstrations of each fact; empty for the methods without."""
    if not isinstance(hparams, IkeHparams):
        return [""] * len(vectors)
    if hparams.corpus is None:
        raise UsageError("ike has no demonstrations", hint="--set corpus=FILE of cases, or use --method ike-prompt")
    cases = read_corpus(hparams.corpus)
    others = encode([fact(case) for case in cases]) - centre  # (n, e)
    made = []
    for vector in vectors - centre:
        similar = torch.cosine_similarity(vector[None], others, dim=-1)
        made.append(demonstrations(cases, similar, hparams.demonstrations, session.seed))
    return made
