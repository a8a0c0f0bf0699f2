"""A request as prompt and answer, for methods that train on the answer whole."""

from typing import TYPE_CHECKING

from editcore.authoring.models import Item, ended
from editcore_hooks import EditRequest

if TYPE_CHECKING:
    from editcore_hooks import Session


def answer(session: "Session", request: EditRequest, eos: bool | None = None) -> Item:
    """Ids of the prompt and of the target, ended as `ended` says."""
    row = session.encode(request)
    return row.prompt_ids, ended(row.target_ids, session.tokenizer, request.template, eos)
