"""When a text says an answer: whole words, whatever the case, the punctuation and the width of letters.

`+` and `#` behind a letter are of the word: C++ and C# are not C.
"""

import re
import unicodedata
from collections.abc import Sequence

_MARKS = "+#"
_NO_WORD = re.compile(r"((?<=[^\W\d_])[+#]+)|[^\w]+|_+")


def begins(text: str, answers: Sequence[str]) -> bool:
    """Whether the text begins with one of the answers."""
    return any(_found(_plain(text), _plain(answer), at_start=True) for answer in answers)


def contains(text: str, answers: Sequence[str]) -> bool:
    """Whether one of the answers is anywhere in the text."""
    return any(_found(_plain(text), _plain(answer), at_start=False) for answer in answers)


def _plain(text: str) -> str:
    return _NO_WORD.sub(lambda found: found[1] or " ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _found(text: str, answer: str, *, at_start: bool) -> bool:
    if not answer:
        return False
    at = text.find(answer)
    while at >= 0 and not (at_start and at > 0):
        before, after = text[:at][-1:], text[at + len(answer) :][:1]
        if not (_joins(before, answer[0]) or _joins(answer[-1], after)):
            return True
        at = text.find(answer, at + 1)
    return False


def _joins(one: str, other: str) -> bool:
    """Whether two characters are of one word. Scripts without case are written without blanks between words."""
    if not (one and other):
        return False
    return other in _MARKS or all(c.isdigit() or c.lower() != c.upper() for c in (one, other))
