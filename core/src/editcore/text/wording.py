"""When a text says an answer: whole words, whatever the case, the punctuation and the width of letters.

Words are those of Unicode's word segmentation (UAX #29), which knows vowel signs and joins the letters of every script
that writes blanks between words. It has no dictionary: in scripts without blanks (Han, Hiragana, Thai, Lao, Khmer,
Myanmar) every character with its marks is a unit, so an answer is found wherever its characters stand. Korean writes
particles after a word without a blank, so letters may follow there. `+` and `#` after a letter are of the word: C++
and C# are not C.
"""

import unicodedata
from collections.abc import Sequence
from typing import Final

import regex

_MARKS: Final = "+#"
_BOUNDARY: Final = regex.compile(r"\b", regex.WORD | regex.V1)
# marks and joiners go with what they stand on: a letter keeps them, an emoji takes them along when it is dropped
_NO_WORD: Final = regex.compile(
    r"((?<=[\p{L}\p{M}])[+#]+)|(?:^|[^\p{L}\p{M}\p{N}\u200c\u200d]+)[\p{M}\u200c\u200d]*", regex.V1
)
_HANGUL: Final = regex.compile(r"\p{Hangul}", regex.V1)


def begins(text: str, answers: Sequence[str]) -> bool:
    """Whether the text begins with one of the answers."""
    return any(found(plain(text), plain(answer), at_start=True) for answer in answers)


def contains(text: str, answers: Sequence[str]) -> bool:
    """Whether one of the answers is anywhere in the text."""
    return any(found(plain(text), plain(answer), at_start=False) for answer in answers)


def words(text: str) -> list[str]:
    """The words and punctuation marks of a text, in their order."""
    return [piece for piece in _BOUNDARY.split(text) if piece.strip()]


def plain(text: str) -> str:
    """The text in NFKC and small letters, without punctuation, one blank between words."""
    lowered = unicodedata.normalize("NFKC", text).casefold()
    return str(_NO_WORD.sub(lambda one: one[1] or " ", lowered)).strip()


def found(text: str, answer: str, *, at_start: bool) -> bool:
    """Whether a plain answer stands in a plain text as whole words."""
    if not answer:
        return False
    at = text.find(answer)
    while at >= 0 and not (at_start and at > 0):
        if _BOUNDARY.match(text, at) and _ends_word(text, at + len(answer)):
            return True
        at = text.find(answer, at + 1)
    return False


def _ends_word(text: str, end: int) -> bool:
    if text[end : end + 1] in tuple(_MARKS):
        return False
    return _BOUNDARY.match(text, end) is not None or all(map(_HANGUL.match, (text[end - 1], text[end])))
