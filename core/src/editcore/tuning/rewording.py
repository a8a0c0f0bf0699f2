"""Other words for a fact: what the model goes on to say of the subject, where it ends in the same answer."""

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Final

import torch
from attrs import evolve

from editcore.models.running.generation import sample
from editcore.models.tokens.tokenising import tokenise
from editcore.tuning.fact import Fact, Words, answer_scores

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

TRIES: Final = 12
LENGTH: Final = 16
MOST: Final = 2
LIKELY: Final = -1.2
"""Least log-probability of the answer after other words, about log 0.3."""
_END: Final = re.compile(r"[.!?。\n]")
ROWS: Final = 256


def reworded(session: "OpenSession", facts: Sequence[Fact]) -> list[Fact]:
    """The same facts, with other wordings where the model gives any.

    An answer is cut to the words that all wordings end in: "plays | the cello" and "takes lessons on | the cello".
    """
    starts = [list(tokenise(session.tokenizer, " ".join(fact.subject)).ids) for fact in facts for _ in range(TRIES)]
    said = _sampled(session, starts)
    found = []
    for fact in facts:
        whole = fact.words + tuple(fact.answer.split(" "))
        others = {words for words in (next(said) for _ in range(TRIES)) if words and words != whole}
        shared = {words: _shared(words, whole) for words in others}
        longest = max((n for n in shared.values() if n <= len(fact.answer.split(" "))), default=0)
        same = sorted(" ".join(words[:-longest]) for words, n in shared.items() if n == longest) if longest else []
        if same:
            fact = evolve(fact, words=whole[:-longest], answer=" ".join(whole[-longest:]), reworded=tuple(same))
        found.append(fact)
    asked = [(prompt, fact.answer) for fact in found for prompt in fact.reworded]
    scores = dict(zip(asked, answer_scores(session, asked, total=True), strict=True)) if asked else {}
    return [
        evolve(fact, reworded=tuple(p for p in fact.reworded if scores[p, fact.answer] > LIKELY)[:MOST])
        for fact in found
    ]


def _sampled(session: "OpenSession", starts: Sequence[Sequence[int]]) -> Iterator[Words]:
    """The first sentence that begins with each start, in words; none where it does not end."""
    generator = torch.Generator().manual_seed(session.seed + 3)
    special = set(session.tokenizer.all_special_ids)
    for first in range(0, len(starts), ROWS):
        some = starts[first : first + ROWS]
        for start, row in zip(
            some, sample(session.model, some, LENGTH, None, generator, lambda _: session.seconds_left > 0), strict=True
        ):
            kept = list(takewhile(lambda token: token not in special, row))
            text = str(session.tokenizer.decode([*start, *kept], skip_special_tokens=True)).strip()
            sentence, *rest = _END.split(text, maxsplit=1)
            yield tuple(sentence.split()) if rest or len(kept) < len(row) else ()


def _shared(one: Words, other: Words) -> int:
    """The number of last words that two sentences share, short of the whole of either."""
    n = 0
    while n < min(len(one), len(other)) - 1 and one[-1 - n] == other[-1 - n]:
        n += 1
    return n
