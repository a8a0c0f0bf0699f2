"""Edits whose keys collide share one change of value, since they can have only one.

Prompts that are the same up to the subject's last token have one key. Least squares would give it the mean of the
values asked for, and none of the edits its target. Their rows are therefore optimised as one edit, in whose value every
target is likely after its own prompt (Dong et al. 2025, arXiv:2502.07322). Other prompts of the same subject have keys
that are much alike: with `subject` they share the change too, each written at its own key.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from attrs import evolve, frozen

from editcore_hooks import EditRequest, UsageError
from editcore_keyvalue.rows import EditRows, edit_rows

if TYPE_CHECKING:
    from editcore_hooks import Session

Merge = Literal["key", "subject", "none"]
Members = list[tuple[EditRequest, EditRows]]


def in_beginnings(session: "Session", shared: "Shared", more: Sequence[str], contexts: int, token: str) -> EditRows:
    """The first request's rows of `contexts` contexts, and after them those of `more`: for keys alone."""
    added = edit_rows(session, shared.requests[0], more, token)
    return evolve(shared.rows, contexts=(*shared.rows.contexts[:contexts], *added.contexts))


@frozen
class Shared:
    """Rows of the edits that share a change of value, and their requests, in the order given.

    `keys` are the same by key: one entry for each key of the edits, the first that of the first request.
    """

    rows: EditRows
    requests: tuple[EditRequest, ...]
    keys: tuple["Shared", ...] = ()

    @property
    def by_key(self) -> tuple["Shared", ...]:
        """The entries to write, each with a key of its own."""
        return self.keys or (self,)


def by_key(
    session: "Session",
    requests: Sequence[EditRequest],
    contexts: Sequence[str],
    token: str,
    *,
    eos: bool | None = None,
    merge: Merge = "key",
) -> list[Shared]:
    """One entry a change of value, in the order of first requests.

    Raises `UsageError` on one prompt with two targets.
    """
    same: dict[tuple[int, ...], Members] = {}
    groups: dict[object, Members] = {}
    for number, request in enumerate(requests):
        rows = edit_rows(session, request, contexts, token, eos=eos)
        key = _prefix(rows)
        same.setdefault(key, []).append((request, rows))
        named = {"key": key, "subject": _plain(request.subject), "none": number}[merge]
        groups.setdefault(named, []).append((request, rows))
    for members in same.values():
        _refuse_contradictions([request for request, _ in members])
    found = [_shared(members, apart=merge == "subject") for members in groups.values()]
    _say_joined(session, found)
    if merge != "subject":
        _say_alike(session, same)
    return found


def _shared(members: Members, apart: bool) -> Shared:
    joint = EditRows(tuple(row for _, rows in members for row in rows.contexts), members[0][1].kl)
    requests = tuple(request for request, _ in members)
    if not apart:
        return Shared(joint, requests)
    keys: dict[tuple[int, ...], Members] = {}
    for request, rows in members:
        keys.setdefault(_prefix(rows), []).append((request, rows))
    return Shared(joint, requests, tuple(_shared(some, apart=False) for some in keys.values()))


def _prefix(rows: EditRows) -> tuple[int, ...]:
    """The clean prompt up to the edited token: what its key depends on."""
    clean = rows.contexts[0]
    return clean.ids[: clean.s + 1]


def _plain(subject: str) -> str:
    return " ".join(subject.split()).casefold()


def _say_joined(session: "Session", found: Sequence[Shared]) -> None:
    joined = [shared for shared in found if len(shared.requests) > 1]
    if joined:
        first = joined[0]
        session.say(
            f"{sum(len(shared.requests) for shared in joined)} edits share their key with another, such as the "
            f"{len(first.requests)} of {first.requests[0].subject}: edits with one key get one value together"
        )


def _say_alike(session: "Session", same: Mapping[tuple[int, ...], Members]) -> None:
    """Report subjects that several keys are of: these are much alike, and their values get in each other's way."""
    keys: dict[str, int] = {}
    for members in same.values():
        keys[_plain(members[0][0].subject)] = keys.get(_plain(members[0][0].subject), 0) + 1
    several = [subject for subject, count in keys.items() if count > 1]
    if several:
        shown = next(m[0][0].subject for m in same.values() if _plain(m[0][0].subject) == several[0])
        session.say(
            f"{len(several)} {'subjects have' if len(several) > 1 else 'subject has'} edits with different beginnings, "
            f"such as {shown}: their keys are alike. --set merge=subject gives them one change of value together"
        )


def _refuse_contradictions(requests: Sequence[EditRequest]) -> None:
    targets: dict[str, str] = {}
    for request in requests:
        text, target = request.rendered().text, request.target_new.strip()
        if targets.setdefault(text, target) != target:
            message = f"two requests continue {text!r} differently: {targets[text]!r} and {target!r}"
            raise UsageError(message, hint="leave one of the two requests out")
