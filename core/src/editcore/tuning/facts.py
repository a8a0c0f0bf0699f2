"""Facts that a model shows by what it writes: no dataset and no network are needed to try an edit on it.

A sentence that the model wrote counts when it ends in words of which the model is sure, and of which it is not once
another subject stands in it. The subject is the part that the rest of the sentence does not predict.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from statistics import fmean
from typing import TYPE_CHECKING, Final

import torch
from attrs import evolve

from editcore.models.running.generation import generate, sample
from editcore.tuning.fact import Fact, Words, answer_scores
from editcore.tuning.rewording import reworded
from editcore_hooks import Case, EditcoreError, EditRequest, Probe

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

TEXTS: Final = 160
ROUND: Final = 32
LENGTH: Final = 48
CONFIDENT: Final = math.log(0.5)
"""Least log-probability of an answer, all of it: then it is what the model says."""
DROP: Final = 1.0
"""Least fall of the answer's mean log-probability, in nats a token, when the subject is another."""
LONGEST_SUBJECT: Final = 4
LONGEST_ANSWER: Final = 3
NEIGHBOURS: Final = 4
OTHERS: Final = 8
"""Subjects that are put in the place of a fact's own, to hear what the model says of them."""
CANDIDATES: Final = 4
"""Answers of which the model is sure for each fact that is wanted: many do not hang on a name."""
_SENTENCE = re.compile(r"(?<=[.!?。\n])\s+")
_END = re.compile(r"[.!?。]+$")
_STOP = re.compile(r"[.!?。\n]")


def sampled_cases(session: "OpenSession", n: int) -> list[Case]:
    """At most `n` cases of facts in what the model writes, seeded by the session; none where it shows none.

    The new target of each is what the model says of another subject in the same words, of such answers the one that it
    holds least likely here, since people edit to what a model would not say; neighbours are other subjects in these
    words, of which it says something else; rephrases are what else it says of the subject with the same answer.
    Sampling stops when there are enough sentences, or at `session.seconds_left`.
    """
    rng = random.Random(session.seed)
    sure, begins = _sure(session, CANDIDATES * n, rng)
    facts = _depending(session, _with_subjects(session, sure, begins), rng)
    facts = _depending(session, reworded(session, facts[: n + n // 2]), rng)  # a cut answer may hang on less
    facts = of_many_kinds(sorted(facts, key=lambda fact: not fact.reworded))
    cases = _cases(session, facts[: n + n // 4], rng)  # of a few the model says the same whatever the subject
    cases = [case for case in cases if _readable(session, case)][:n]
    rng.shuffle(cases)
    return cases


def _sure(session: "OpenSession", enough: int, rng: random.Random) -> tuple[list[tuple[Words, str]], Counter[str]]:
    """Sentences of whose end the model is sure, and how often sentences begin with each word.

    Sampled in rounds, until there are enough, or TEXTS, or the time is used up.
    """
    found: dict[tuple[Words, str], None] = {}
    begins: Counter[str] = Counter()
    length = min(LENGTH, session.max_length - 1)
    with session.progress("facts of the model", TEXTS) as progress:
        for start in range(0, TEXTS, ROUND):
            new = _sentences(texts(session, ROUND, length, salt=start), rng)
            begins.update(words[0] for words in new)
            found |= dict.fromkeys(_confident(session, new))
            progress.advance(ROUND)
            if len(found) >= enough or session.seconds_left < 0:
                break
    return list(found)[:enough], begins


def _readable(session: "OpenSession", case: Case) -> bool:
    """Whether the tokenizer reads the case: a sampled sentence may hold anything."""
    try:
        session.encode(case.request)
        session.encode(evolve(case.request, target_new=case.request.target_true or ""))
    except EditcoreError:
        return False
    return True


def texts(session: "OpenSession", n: int, length: int, salt: int = 0) -> list[str]:
    """Texts that the model writes from nothing, `length` tokens each, seeded by the session; an end is a line's end."""
    generator = torch.Generator().manual_seed((session.seed << 16) + salt + 1)
    special = set(session.tokenizer.all_special_ids)
    starts = [[session.start_token]] * n
    rows = sample(session.model, starts, length, None, generator, lambda _: session.seconds_left > 0)
    pieces = ([list(run) for ended, run in groupby(row, lambda token: token in special) if not ended] for row in rows)
    return ["\n".join(str(session.tokenizer.decode(piece)) for piece in row) for row in pieces]


def sentences(session: "OpenSession", n: int, salt: int = 0) -> list[str]:
    """At most `n` whole sentences that the model writes, seeded; fewer where it ends none."""
    rng = random.Random(session.seed + salt)
    found = _sentences(texts(session, 4 * n, min(LENGTH, session.max_length - 1), salt), rng)
    return [" ".join(words) + "." for words in found[:n]]


def _sentences(written: Sequence[str], rng: random.Random) -> list[Words]:
    """Whole sentences, each once, in a random order."""
    found = sorted({_END.sub("", " ".join(s.split())).strip() for t in written for s in _SENTENCE.split(t)[:-1]})
    rng.shuffle(found)
    return [tuple(sentence.split()) for sentence in found if sentence and not {"{", "}"} & set(sentence)]


def _confident(session: "OpenSession", sentences: Sequence[Words]) -> list[tuple[Words, str]]:
    """Prompt and answer of those sentences of whose end the model is sure; the longest such end."""
    cuts = [
        (words[:-size], " ".join(words[-size:]))
        for words in sentences
        for size in range(min(LONGEST_ANSWER, len(words) - 3), 0, -1)
    ]
    scores = answer_scores(session, [(" ".join(prompt), answer) for prompt, answer in cuts], total=True)
    longest: dict[str, tuple[Words, str]] = {}
    for (prompt, answer), score in zip(cuts, scores, strict=True):
        if score > CONFIDENT:
            longest.setdefault(" ".join((*prompt, answer)), (prompt, answer))  # cuts begin with the longest
    return list(longest.values())


def _with_subjects(session: "OpenSession", sure: Sequence[tuple[Words, str]], begins: Counter[str]) -> list[Fact]:
    """In each sentence, the run of words with the largest sum of surprise above its mean, a few words at most.

    A word's surprise is −log p given the words before it; of the first word, which has none, given the sentences.
    """
    asked = [(" ".join(prompt[:i]), prompt[i]) for prompt, _ in sure for i in range(1, len(prompt))]
    later = iter(answer_scores(session, asked, total=True))
    facts = []
    for prompt, answer in sure:
        surprise = [math.log(begins.total() / begins[prompt[0]]), *(-next(later) for _ in prompt[1:])]
        facts.append(Fact(prompt, answer, *_subject(prompt, surprise)))
    return facts


def _subject(words: Words, surprise: Sequence[float]) -> tuple[int, int]:
    """Start and end of the subject. A capital joins the parts of a name, where the script has capitals."""
    mean, n = fmean(surprise), len(words)
    runs = [(i, j) for i in range(n) for j in range(i + 1, min(i + LONGEST_SUBJECT, n) + 1)]
    start, end = max(runs, key=lambda run: sum(surprise[slice(*run)]) - mean * (run[1] - run[0]))
    core = max(range(start, end), key=surprise.__getitem__)
    if not words[core][:1].isupper():
        return start, end
    start, end = core, core + 1
    while start > 0 and words[start - 1][:1].isupper():
        start -= 1
    while end < n and words[end][:1].isupper():
        end += 1
    return start, end


def _depending(session: "OpenSession", facts: Sequence[Fact], rng: random.Random) -> list[Fact]:
    """One fact a subject, the one that hangs on it most, if it does: the answer goes when the subject is another."""
    others = [[rng.choice(facts).subject for _ in range(3)] for _ in facts]
    asked = [(fact.about(other), fact.answer) for fact, three in zip(facts, others, strict=True) for other in three]
    base = answer_scores(session, [(fact.prompt, fact.answer) for fact in facts])
    now = answer_scores(session, asked)
    best: dict[tuple[str, ...], tuple[float, Fact]] = {}
    for i, fact in enumerate(facts):
        drop = base[i] - sum(now[3 * i : 3 * i + 3]) / 3
        once = fact.prompt.count(" ".join(fact.subject)) == 1
        if once and drop >= DROP and drop > best.get(fact.subject, (0.0, fact))[0]:
            best[fact.subject] = (drop, fact)
    chosen = [fact for _, fact in best.values()]
    rng.shuffle(chosen)
    return chosen


def of_many_kinds(facts: Sequence[Fact]) -> list[Fact]:
    """One of every wording before a second of any: a model writes most often of what is easiest to change.

    A wording that only one subject has may be a slip of the pen; it comes last.
    """
    wordings = [fact.about(["{}"]) for fact in facts]
    often, seen = Counter(wordings), Counter[str]()
    keys = []
    for wording in wordings:
        keys.append((often[wording] == 1, seen[wording]))
        seen[wording] += 1
    return [fact for _, fact in sorted(zip(keys, facts, strict=True), key=itemgetter(0))]


def _cases(session: "OpenSession", facts: Sequence[Fact], rng: random.Random) -> list[Case]:
    """The model's answers for other subjects in the same words give a new target of the right kind, and neighbours."""
    others = [[other.subject for other in rng.sample(facts, min(OTHERS, len(facts)))] for _ in facts]
    prompts = [fact.about(other) for fact, some in zip(facts, others, strict=True) for other in some]
    said = iter(zip(prompts, generate(session.model, session.tokenizer, prompts, 8, batch_size=64), strict=True))
    answers = []
    for fact, some in zip(facts, others, strict=True):
        pairs = [(prompt, _STOP.split(text.strip())[0].strip()) for prompt, text in (next(said) for _ in some)]
        answers.append([(prompt, answer) for prompt, answer in pairs if answer and answer != fact.answer])
    asked = [(fact.prompt, answer) for fact, pairs in zip(facts, answers, strict=True) for _, answer in pairs]
    likely = iter(answer_scores(session, asked))
    cases = []
    for i, (fact, pairs) in enumerate(zip(facts, answers, strict=True)):
        if not pairs:
            continue
        _, new = min(((next(likely), answer) for _, answer in pairs), key=itemgetter(0))
        near = tuple(Probe(prompt, (answer,)) for prompt, answer in pairs if answer != new and prompt != fact.prompt)
        request = EditRequest(fact.about(["{}"]), " ".join(fact.subject), new, fact.answer, id=f"own-{i}")
        cases.append(Case(request, fact.reworded, {"neighbour": near[:NEIGHBOURS]}))
    return cases
