"""What the hypernetwork reads of a request: "old answer >> new answer || prompt", as embeddings of the model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from editcore.authoring.models import bare
from editcore_hooks import EditRequest

if TYPE_CHECKING:
    from editcore_hooks import Session


def embedded(session: "Session", requests: Sequence[EditRequest]) -> list[Tensor]:
    """The embeddings (T, width) of the text of each request, float32."""
    table: Any = session.model.get_input_embeddings()
    texts = [_text(request, old) for request, old in zip(requests, old_answers(session, requests), strict=True)]
    with torch.no_grad():
        return [table(torch.tensor(_ids(session, text), device=session.device)).float() for text in texts]


def old_answers(session: "Session", requests: Sequence[EditRequest]) -> list[str]:
    """The true target where the request names it; else what the model answers now, as long as the new target."""
    unknown = [request for request in requests if request.target_true is None]
    said = {}
    if unknown:
        longest = max(len(session.encode(request).target_ids) for request in unknown)
        prompts = [request.rendered().text for request in unknown]
        said = dict(zip(prompts, session.generate(prompts, max_new_tokens=longest), strict=True))
    return [
        said[request.rendered().text] if request.target_true is None else request.target_true for request in requests
    ]


def _text(request: EditRequest, old: str) -> str:
    return f"{old.strip()} >> {request.target_new.strip()} || {request.rendered().text}"


def _ids(session: "Session", text: str) -> Sequence[int]:
    return bare(session.tokenizer, text)[: session.max_length]
