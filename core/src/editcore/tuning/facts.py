"""Facts that a model shows by what it writes: no dataset and no network are needed to try an edit on it.

A sentence that the model wrote counts when it ends in words of which the model is sure, and of which it is not once
another name stands in it. Names are runs of words that the model's texts seldom have, whatever the language.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

import torch
from attrs import frozen

from editcore.models.generation import sample
from editcore_hooks import Case, EditRequest, Probe, UsageError

if TYPE_CHECKING:
    from editcore.editing.session import Session

TEXTS: Final = 160
LENGTH: Final = 48
CONFIDENT: Final = math.log(0.5)
"""Least log-probability of an answer, all of it: then it is what the model says."""
DROP: Final = 1.0
"""Least fall of the answer's mean log-probability, in nats a token, when the subject is another."""
SELDOM: Final = (0.01, 0.05, 0.3)
"""Largest share of sentences in which a word of a name occurs: the next one where a model knows too few names."""
LONGEST_ANSWER: Final = 3
NEIGHBOURS: Final = 4
CANDIDATES: Final = 5
"""Answers of which the model is sure for each fact that is wanted: many do not hang on a name."""
FEWEST: Final = 8
_SENTENCE = re.compile(r"(?<=[.!?。\n])\s+")
_END = re.compile(r"[.!?。]+$")


@frozen
class _Fact:
    """A prompt, and the answer of which the model is sure; the subject is the words from `start` to `end`."""

    words: tuple[str, ...]
    answer: str
    start: int
    end: int

    @property
    def subject(self) -> tuple[str, ...]:
        return self.words[self.start : self.end]

    @property
    def prompt(self) -> str:
        return " ".join(self.words)

    def about(self, subject: Sequence[str]) -> str:
        return " ".join([*self.words[: self.start], *subject, *self.words[self.end :]])


def own_cases(session: "Session", n: int) -> list[Case]:
    """At most `n` cases of facts that the model states by itself, seeded by the session.

    The new target of each is the answer to another fact that the model finds possible here; neighbours are prompts of
    other facts for which that target is not far off. Raises `UsageError` when the model shows too few.
    """
    if session.model.config.is_encoder_decoder:
        raise UsageError("a model with an encoder writes no text by itself", hint="give facts: --cases FILE")
    rng = random.Random(session.seed)
    written = texts(session, TEXTS, min(LENGTH, session.max_length - 1))
    facts: list[_Fact] = []
    for share in SELDOM:
        if len(facts) < min(2 * FEWEST, n):
            sure = _confident(session, _candidates(written, share, rng), CANDIDATES * n)
            facts = _depending(session, sure, rng)[:n]
    if len(facts) < FEWEST:
        message = f"the model shows only {len(facts)} facts of its own by which an edit could be tried"
        raise UsageError(message, hint="give some: --cases FILE, as for `editcore edit --requests`")
    return _cases(session, facts, rng)


def texts(session: "Session", n: int, length: int, salt: int = 0) -> list[str]:
    """Texts that the model writes from nothing, `length` tokens each, seeded by the session; an end is a line's end."""
    generator = torch.Generator().manual_seed((session.seed << 16) + salt + 1)
    special = set(session.tokenizer.all_special_ids)
    rows = sample(session.model, [[session.start_token]] * n, length, None, generator)
    pieces = ([list(run) for ended, run in groupby(row, lambda token: token in special) if not ended] for row in rows)
    return ["\n".join(str(session.tokenizer.decode(piece)) for piece in row) for row in pieces]


def _candidates(written: Sequence[str], share: float, rng: random.Random) -> list[_Fact]:
    """Every way to cut a sentence into a prompt with a name in it and an answer of a few words."""
    sentences = sorted({_END.sub("", " ".join(s.split())) for text in written for s in _SENTENCE.split(text)[:-1]})
    rng.shuffle(sentences)
    occurs = Counter(word for sentence in sentences for word in set(sentence.split(" ")))
    most = max(3.0, share * len(sentences))
    found = []
    for words in (tuple(sentence.split(" ")) for sentence in sentences):
        for size in range(min(LONGEST_ANSWER, len(words) - 3), 0, -1):
            prompt, answer = words[:-size], " ".join(words[-size:])
            names = [span for span in _runs(prompt, lambda word: occurs[word] <= most) if span[1] < len(prompt)]
            found += [
                _Fact(prompt, answer, *span) for span in names if not set(prompt[slice(*span)]) & {*words[-size:]}
            ]
    return found


def _runs(words: Sequence[str], chosen: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    """Where runs of chosen words begin and end; long ones are no names."""
    for taken, run in groupby(enumerate(words), lambda pair: chosen(pair[1])):
        places = [i for i, _ in run]
        if taken and len(places) <= 4:
            yield places[0], places[-1] + 1


def _confident(session: "Session", facts: Sequence[_Fact], enough: int) -> list[_Fact]:
    """Those whose answer the model gives; of a sentence those with the longest answer."""
    sure: list[_Fact] = []
    for start in range(0, len(facts), 256):
        some = facts[start : start + 256]
        asked = list(dict.fromkeys((fact.prompt, fact.answer) for fact in some))
        score = dict(zip(asked, _scores(session, asked, total=True), strict=True))
        sure += [fact for fact in some if score[fact.prompt, fact.answer] > CONFIDENT]
        if len(sure) >= enough:
            break
    longest: dict[str, int] = {}
    for fact in sure:
        sentence = f"{fact.prompt} {fact.answer}"
        longest[sentence] = max(longest.get(sentence, 0), len(fact.answer))
    return [fact for fact in sure if len(fact.answer) == longest[f"{fact.prompt} {fact.answer}"]]


def _depending(session: "Session", facts: Sequence[_Fact], rng: random.Random) -> list[_Fact]:
    """One fact a subject, the one that hangs on it most, if it does: the answer goes when the subject is another."""
    others = [[rng.choice(facts).subject for _ in range(3)] for _ in facts]
    asked = [(fact.about(other), fact.answer) for fact, three in zip(facts, others, strict=True) for other in three]
    base = _scores(session, [(fact.prompt, fact.answer) for fact in facts])
    now = _scores(session, asked)
    best: dict[tuple[str, ...], tuple[float, _Fact]] = {}
    for i, fact in enumerate(facts):
        drop = base[i] - sum(now[3 * i : 3 * i + 3]) / 3
        once = fact.prompt.count(" ".join(fact.subject)) == 1 and "{" not in fact.prompt
        if once and drop >= DROP and drop > best.get(fact.subject, (0.0, fact))[0]:
            best[fact.subject] = (drop, fact)
    chosen = [fact for _, fact in best.values()]
    rng.shuffle(chosen)
    return chosen


def _cases(session: "Session", facts: Sequence[_Fact], rng: random.Random) -> list[Case]:
    pool = sorted({fact.answer for fact in facts})
    # whole answers: a name of many tokens is likely token by token once it has begun
    flat = _scores(session, [(fact.prompt, answer) for fact in facts for answer in pool], total=True)
    likely = [dict(zip(pool, flat[i * len(pool) : (i + 1) * len(pool)], strict=True)) for i in range(len(facts))]
    cases = []
    for i, fact in enumerate(facts):
        others = sorted((answer for answer in pool if answer != fact.answer), key=lambda answer: -likely[i][answer])
        new = rng.choice(others[: max(3, len(pool) // 8)])
        near = sorted(
            (j for j in range(len(facts)) if facts[j].answer != new and j != i), key=lambda j: -likely[j][new]
        )
        probes = tuple(Probe(facts[j].prompt, (facts[j].answer,)) for j in near[:NEIGHBOURS])
        request = EditRequest(fact.about(["{}"]), " ".join(fact.subject), new, fact.answer, id=f"own-{i}")
        cases.append(Case(request, (), {"neighbour": probes}))
    return cases


def _scores(session: "Session", asked: Sequence[tuple[str, str]], *, total: bool = False) -> list[float]:
    scored = session.score_targets([(prompt, answer, None, "auto") for prompt, answer in asked])
    return [score.sum if total else score.mean for score in scored]
