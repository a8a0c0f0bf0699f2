"""The requests of a call in one order, so that the patch does not depend on how they were given. Light: no torch."""

from collections.abc import Sequence
from itertools import pairwise

from editcore_hooks import EditRequest, UsageError


def in_order(requests: Sequence[EditRequest]) -> list[EditRequest]:
    """The requests by their texts. Raises `UsageError` for none, and for two answers to one prompt."""
    if not requests:
        raise UsageError("there is nothing to edit", hint="give at least one request")
    ordered = sorted(requests, key=lambda request: (request.rendered().text, request.target_new))
    for one, two in pairwise(ordered):
        text = one.rendered().text
        if text == two.rendered().text and one.target_new != two.target_new:
            raise UsageError(
                f"two requests answer {text!r} with {one.target_new!r} and {two.target_new!r}",
                hint="write one patch a request (-o FOLDER); the later replaces the earlier",
            )
    return ordered
