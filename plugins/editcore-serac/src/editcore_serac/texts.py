"""What a case is to the nets, as token ids."""

from typing import TYPE_CHECKING

from attrs import frozen

from editcore.authoring.models import Item, encode_prompt
from editcore_hooks import Case, EditcoreError

if TYPE_CHECKING:
    from editcore_hooks import Session

Ids = tuple[int, ...]


@frozen
class Texts:
    """`edit` is the request, `outer` its rephrases with the new target, `own` prompts of locality probes by facet."""

    edit: Item
    outer: tuple[Item, ...]
    own: tuple[tuple[Ids, ...], ...]


def texts(session: "Session", case: Case) -> Texts:
    """The texts of a case; what the model cannot read is left out."""
    encoded = session.encode(case.request)
    outer = [_item(session, case, prompt, case.request.target_new) for prompt in case.rephrases]
    own = [
        tuple(item[0] for one in probes if one.targets and (item := _item(session, case, one.prompt, one.targets[0])))
        for probes in case.locality.values()
    ]
    edit = (tuple(encoded.prompt_ids), tuple(encoded.target_ids))
    return Texts(edit, tuple(filter(None, outer)), tuple(filter(None, own)))


def _item(session: "Session", case: Case, prompt: str, target: str) -> tuple[Ids, Ids] | None:
    request = case.request
    try:
        found = encode_prompt(
            session.tokenizer, prompt, target, request.template, request.target_prefix, encoder_decoder=False
        )
    except EditcoreError:
        return None
    if not found.prompt_ids or len(found.ids) >= session.max_length:  # one more token is scored after the target
        return None
    return (tuple(found.prompt_ids), tuple(found.target_ids))
