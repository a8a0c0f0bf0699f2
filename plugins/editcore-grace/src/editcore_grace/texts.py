"""The texts of a call in the order in which they count, none of them with two answers."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

from editcore_hooks import UsageError

T = TypeVar("T")


def in_order(edits: Sequence[T], text: Callable[[T], tuple[str, str]]) -> list[T]:
    """Edits in the order of their texts. Raises `UsageError` for none, and for a prompt with two targets."""
    if not edits:
        raise UsageError("there is nothing to edit", hint="give at least one request")
    ordered = sorted(edits, key=text)
    for one, two in pairwise(map(text, ordered)):
        if one[0] == two[0] and one[1] != two[1]:
            raise UsageError(
                f"two requests answer {one[0]!r} with {one[1]!r} and {two[1]!r}",
                hint="write one patch a request (-o FOLDER); the later replaces the earlier",
            )
    return ordered
