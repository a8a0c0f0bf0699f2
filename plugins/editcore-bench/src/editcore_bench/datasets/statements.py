"""Subject and target of a fact that RippleEdits states in one sentence, `The mother tongue of X is Y.`"""

import re
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from editcore_bench.datasets.record import Record
from editcore_hooks import escape

# Relation → the words right before the subject, and those between it and the target. The rest read
# `… RELATION of SUBJECT is TARGET.` with the relation's own name.
_FRAMES: Final = {
    "AWARD_RECEIVED": ("award ", " won is "),
    "CAPITAL": ("capital city of ", " is "),
    "CAPITAL_OF": ("country which ", " is the capital of is "),
    "CAST_MEMBER": ("cast members of ", " are "),
    "CONTINENT": ("continent which ", " is part of is "),
    "COUNTRY": ("country which ", " is associated with is "),
    "CURRENCY": ("currency in ", " is "),
    "ETHNIC_GROUP": ("ethnic group which ", " is associated with is "),
    "FOLLOWED_BY": ("", " is followed by "),
    "FOLLOWS": ("", " follows "),
    "LEAGUE": ("league which ", " plays in is "),
    "LIKELY_ANTHEM": ("performed in ", " is "),
    "MEMBER_OF_SPORTS_TEAM": ("sports team which ", " is a member of is "),
    "NATIVE_LANGUAGE": ("mother tongue of ", " is "),
    "NUMBER_OF_CHILDREN": ("number of children ", " has is "),
    "POSITION_HELD": ("position held by ", " is "),
    "RELIGION": ("religion which ", " is associated with is "),
    "SEX_OR_GENDER": ("gender of ", " is "),
    "SIBLING": ("siblings of ", " are "),
}


@frozen
class Statement:
    """A prompt with `{}`, its subject, the target, and the text up to the target."""

    prompt: str
    subject: str
    target: str
    opening: str


def split(edit: Record, prompts: Sequence[str], before: str | None) -> Statement:
    """Take the statement of an edit apart.

    Where the words between subject and target occur twice, the fact before the edit and other prompts about the
    subject tell which of them it is. Raises `RefusedFileError` when the relation's words are not there.
    """
    text, relation = edit.text("prompt"), edit.text("relation")
    lead, tail = _FRAMES.get(relation, (f"{relation.lower().replace('_', ' ')} of ", " is "))
    start = text.find(lead) + len(lead)
    found = [match.start() for match in re.finditer(re.escape(tail), text) if match.start() > start]
    if lead not in text or not found:
        raise edit.misfit("prompt", f"a statement that says {lead!r}, a subject, {tail!r} and a target")
    cuts = [cut for cut in found if before is None or before.startswith(text[: cut + len(tail)])] or found
    told = [cut for cut in cuts if any(text[start:cut] in prompt for prompt in prompts)]
    cut = max(told, default=cuts[0])
    opening = text[: cut + len(tail)]
    target = text.removeprefix(opening).removesuffix(".").strip()
    prompt = f"{escape(text[:start])}{{}}{escape(tail.rstrip())}"
    return Statement(prompt, text[start:cut], target, opening)
