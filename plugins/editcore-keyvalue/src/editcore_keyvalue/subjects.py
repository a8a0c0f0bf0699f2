"""Edits whose prompts are the same up to the subject's last token share one key, so they can only share one value.

Least squares would give each the mean of the values asked for, and none of them its target. Their rows are therefore
optimised as one edit, in whose value every target is likely after its own prompt (Dong et al. 2025, arXiv:2502.07322).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from editcore_hooks import EditRequest, UsageError
from editcore_keyvalue.rows import EditRows, edit_rows

if TYPE_CHECKING:
    from editcore_hooks import Session


def in_beginnings(session: "Session", shared: "Shared", more: Sequence[str], contexts: int, token: str) -> EditRows:
    """The first request's rows of `contexts` contexts, and after them those of `more`: for keys alone."""
    added = edit_rows(session, shared.requests[0], more, token)
    return evolve(shared.rows, contexts=(*shared.rows.contexts[:contexts], *added.contexts))


@frozen
class Shared:
    """Rows of the edits that share a key, and their requests, in the order given."""

    rows: EditRows
    requests: tuple[EditRequest, ...]


def by_key(
    session: "Session", requests: Sequence[EditRequest], contexts: Sequence[str], token: str, *, eos: bool = False
) -> list[Shared]:
    """One entry a key, in the order of first requests. Raises `UsageError` on one prompt with two targets."""
    groups: dict[tuple[int, ...], list[tuple[EditRequest, EditRows]]] = {}
    for request in requests:
        rows = edit_rows(session, request, contexts, token, eos=eos)
        clean = rows.contexts[0]
        groups.setdefault(clean.ids[: clean.s + 1], []).append((request, rows))
    found = []
    for members in groups.values():
        _refuse_contradictions([request for request, _ in members])
        joint = EditRows(tuple(row for _, rows in members for row in rows.contexts), members[0][1].kl)
        found.append(Shared(joint, tuple(request for request, _ in members)))
    joined = [shared for shared in found if len(shared.requests) > 1]
    if joined:
        first = joined[0]
        session.say(
            f"{sum(len(shared.requests) for shared in joined)} edits share their key with another, such as the "
            f"{len(first.requests)} of {first.requests[0].subject}: edits with one key get one value together"
        )
    return found


def _refuse_contradictions(requests: Sequence[EditRequest]) -> None:
    targets: dict[str, str] = {}
    for request in requests:
        text, target = request.rendered().text, request.target_new.strip()
        if targets.setdefault(text, target) != target:
            message = f"two requests continue {text!r} differently: {targets[text]!r} and {target!r}"
            raise UsageError(message, hint="leave one of the two requests out")
