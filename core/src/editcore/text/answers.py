"""Whether a text is an answer, contains it, and how much longer it is: the comparisons of the protocol gen-1.

Texts are compared after NFKC, in small letters, without punctuation, English articles, and what Arabic and Hebrew may
leave out (vowel points, the tatweel). Other marks stay on their letters, and words are those of
`editcore.text.wording`, so this holds for every script.
"""

from collections.abc import Sequence
from typing import Final

import regex

from editcore.text.wording import found, plain, words

# a capital A within a sentence is a name, as in Vitamin A; an article always has a word after it
_ARTICLES: Final = regex.compile(r"\b(?:[Tt]he|THE|[Aa]n|a)\s+(?=\w)|(?:^\s*|[.!?]\s+)\KA\s+(?=\w)", regex.V1)
_OPTIONAL: Final = regex.compile(
    r"[\u0640\u064b-\u0652\u0670\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]", regex.V1
)
# a full stop within a word or a number ends no sentence; the terminals of other scripts always do
_ENDS: Final = regex.compile(r"[.!?](?=[\s\p{Pe}\p{Pf}\"'*]|$)|[\p{Sentence_Terminal}--[.!?]]|…|\n", regex.V1)


def normal(text: str) -> str:
    """The text as it is compared."""
    return plain(_OPTIONAL.sub("", _ARTICLES.sub("", text)))


def is_answer(text: str, answers: Sequence[str]) -> bool:
    """Whether the text up to the end of a sentence is one of the answers, and nothing else.

    It is the first sentence, unless an answer itself has the mark of an end in it: St. Louis.
    """
    cuts = (*(end.start() for end in _ENDS.finditer(text)), len(text))
    heads = {normal(text[:cut]) for cut in cuts} - {""}
    return any(normal(answer) in heads for answer in answers)


def says(text: str, answers: Sequence[str], apart_from: Sequence[str] = ()) -> bool:
    """Whether the text has one of the answers in it, as whole words.

    A phrase of `apart_from` that has the answer in it does not count where it stands: Paris is not found in a text with
    Paris Hilton alone.
    """
    return any(_says(normal(text), normal(answer), [normal(phrase) for phrase in apart_from]) for answer in answers)


def _says(text: str, answer: str, apart_from: Sequence[str]) -> bool:
    for phrase in apart_from:
        if phrase != answer and found(phrase, answer, at_start=False):
            text = text.replace(phrase, " | ")
    return found(text, answer, at_start=False)


def excess(text: str, answer: str) -> float:
    """Words of the text beyond those of the answer, as a multiple of these; -1 for an empty text."""
    length = max(1, len(words(normal(answer))))
    return (len(words(normal(text))) - length) / length
