"""Facts that most models of English text know, and which of them a model states: no text has to be sampled first."""

import random
from collections.abc import Sequence
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from editcore.text.yaml_text import parse
from editcore_hooks import Case, EditRequest, Probe

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

NEIGHBOURS: Final = 4
ROUND: Final = 24
"""Facts that are asked for in one batch."""


@frozen
class Common:
    """A true fact of a subject, with its wordings and the other facts of its relation."""

    relation: int
    templates: tuple[str, ...]
    subject: str
    answer: str


@frozen
class Known:
    """A common fact that the model states after `templates`, the likeliest first."""

    fact: Common
    templates: tuple[str, ...]


def common_facts() -> list[Common]:
    """All of them, in the order of the file."""
    return [
        Common(number, tuple(relation["templates"]), str(subject), str(answer))
        for number, relation in enumerate(_file()["relations"])
        for subject, answer in relation["facts"].items()
    ]


def common_sentences() -> tuple[str, ...]:
    """Plain sentences, about nothing that the facts are about."""
    return tuple(_file()["sentences"])


def _file() -> Any:
    return parse(files("editcore.tuning").joinpath("common_facts.yaml").read_text("utf-8"), "the common facts")


def common_cases(session: "OpenSession", n: int) -> list[Case]:
    """At most `n` cases of common facts that the model states greedily, drawn by the session's seed.

    The new target is the answer of another fact of the relation; rephrases are other wordings after which the model
    states the fact too; neighbours are other subjects of which it states another answer. Asks in rounds, and stops
    when there are enough.
    """
    rng = random.Random(f"{session.seed}/common")
    every = common_facts()
    rng.shuffle(every)
    known: list[Known] = []
    for start in range(0, len(every), ROUND):
        known += _stated(session, every[start : start + ROUND])
        if len(known) >= n + n // 4:
            break
    made = (_case(one, known, every, rng) for one in known)
    return list(islice((case for case in made if case is not None), n))


def _stated(session: "OpenSession", some: Sequence[Common]) -> list[Known]:
    """Those facts of `some` whose whole answer is the argmax after one wording at least."""
    asked = [(fact, template) for fact in some for template in fact.templates]
    scores = session.score_targets([(t.replace("{}", fact.subject), fact.answer, None, "auto") for fact, t in asked])
    right: dict[Common, list[tuple[float, str]]] = {}
    for (fact, template), score in zip(asked, scores, strict=True):
        if all(score.hits):
            right.setdefault(fact, []).append((-score.mean, template))
    return [Known(fact, tuple(template for _, template in sorted(found))) for fact, found in right.items()]


def _case(one: Known, known: Sequence[Known], every: Sequence[Common], rng: random.Random) -> Case | None:
    fact, (template, *others) = one.fact, one.templates
    answers = sorted({other.answer for other in every if other.relation == fact.relation} - {fact.answer})
    new = rng.choice(answers)
    near = [k for k in known if k.fact.relation == fact.relation and k.fact.answer not in (fact.answer, new)]
    if not near:
        return None
    probes = tuple(Probe(k.templates[0].replace("{}", k.fact.subject), (k.fact.answer,)) for k in near[:NEIGHBOURS])
    request = EditRequest(template, fact.subject, new, fact.answer, id=f"common-{fact.subject}-{fact.relation}")
    return Case(request, tuple(t.replace("{}", fact.subject) for t in others), {"neighbour": probes})
