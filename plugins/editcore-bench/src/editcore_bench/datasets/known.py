"""Facts of published records that a model demonstrably knows: asked, it gives the true answer by itself."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from attrs import evolve, field, frozen

from editcore.authoring.evaluation import common_facts
from editcore_bench.datasets.layout import Layout
from editcore_bench.datasets.layouts import LAYOUTS
from editcore_bench.datasets.questions import Statements, is_question, relation_of
from editcore_bench.datasets.stream import records
from editcore_hooks import Case, ChatTemplate, EditRequest, Probe, RefusedFileError

if TYPE_CHECKING:
    from editcore import Session

Form = Literal["chat", "question", "cloze"]
SAYS_OLD: Final = "gen1.old_contains@1"
SAYS_NEW: Final = "gen1.contains@1"
ROUND: Final = 64
"""Facts that are asked for in one batch."""
NEIGHBOURS: Final = 4


@frozen
class Candidate:
    """A case in the form in which it is asked, and the name of its relation."""

    case: Case
    relation: str


@frozen
class Found:
    """The known facts, how many were asked for, and how many records had no place, by reason."""

    cases: tuple[Case, ...]
    asked: int
    left_out: Mapping[str, int] = field(factory=dict)


def read_records(paths: Sequence[Path]) -> Iterator[Case]:
    """The cases of published files, each read in the layout whose keys it has. Raises `RefusedFileError`."""
    for path in paths:
        yield from _layout(path).read(path)


def common_records(seed: int) -> Iterator[Case]:
    """The facts that most models of English text know; the new target is another answer of the relation."""
    every = common_facts()
    rng = random.Random(f"{seed}/own")
    for number, fact in enumerate(every):
        others = sorted({other.answer for other in every if other.relation == fact.relation} - {fact.answer})
        prompt, *rest = fact.templates
        request = EditRequest(prompt, fact.subject, rng.choice(others), fact.answer, id=f"common-{number}")
        yield Case(request, tuple(template.replace("{}", fact.subject) for template in rest))


def usual_form(session: "Session") -> Form:
    """The form of the prompts for a model: a chat where it has a chat template, else the statement."""
    return "chat" if session.tokenizer.chat_template else "cloze"


def _layout(path: Path) -> Layout:
    _, first = next(records(path), (0, None))
    keys = first.keys() if isinstance(first, dict) else set()
    fitting = [layout for layout in LAYOUTS if keys >= set(layout.keys)]
    if not fitting:
        raise RefusedFileError(f"{path.name} has no layout that is known", hint="editcore datasets")
    layout = max(fitting, key=lambda layout: len(layout.keys))
    return layout(layout.Hparams(skip=True))


def candidates(cases: Iterable[Case], form: Form, seed: int) -> tuple[list[Candidate], dict[str, int]]:
    """The cases that can be asked in a form, in an order drawn by `seed`, and how many were left out, by reason.

    A subject stays with its first fact of a relation.
    """
    every = [case for case in cases if case.request.target_true is not None]
    statements = Statements.of(case.request.prompt for case in every)
    left_out: dict[str, int] = {}
    found: dict[tuple[str, str], Candidate] = {}
    for case in random.Random(f"{seed}/known").sample(every, len(every)):
        relation = relation_of(case.request.prompt)
        name = case.request.prompt if relation is None else relation.ask[0]
        if (case.request.subject, name) in found:
            why = "another record has the same fact"
        elif not is_question(case.request.prompt) and relation is None:
            why = "its statement is not known as one of a single relation"
        else:
            asked = case if relation is None else _as_question(case, relation.ask, form, statements)
            template = ChatTemplate() if form == "chat" else None
            asked = evolve(asked, request=evolve(asked.request, template=template))
            found[case.request.subject, name] = Candidate(asked, name)
            continue
        left_out[why] = left_out.get(why, 0) + 1
    return list(found.values()), left_out


def _as_question(case: Case, ask: tuple[str, str], form: Form, statements: Statements) -> Case:
    """The questions beside the statement: as the prompt, or as a rephrase."""
    subject, statement = case.request.subject, case.request.rendered().text
    first, second = (question.replace("{}", subject) for question in ask)
    if form == "cloze":
        return evolve(case, rephrases=(*case.rephrases, first))
    near = tuple(
        evolve(probe, prompt=statements.question_of(probe.prompt) or probe.prompt)
        for probe in case.locality.get("neighbour", ())
    )
    request = evolve(case.request, prompt=ask[0])
    return evolve(case, request=request, rephrases=(second, statement), locality={**case.locality, "neighbour": near})


def known_cases(
    session: "Session", asked: Sequence[Candidate], n: int, advance: Callable[[int], None] = lambda _: None
) -> Found:
    """The first `n` of the candidates whose true answer the model gives, and not the new target; one a subject.

    A quarter more are looked for, to ask about beside the edits: each case gets known facts that are no case, of its
    relation as neighbours, of its subject as other attributions. `advance` counts the facts that were found.
    """
    known: list[Candidate] = []
    first: dict[str, Candidate] = {}
    number = 0
    for start in range(0, len(asked), ROUND):
        some = asked[start : start + ROUND]
        number += len(some)
        known += (new := _known(session, some))
        before = min(n, len(first))
        for one in new:
            first.setdefault(one.case.request.subject, one)
        advance(min(n, len(first)) - before)
        if len(first) >= n + n // 4:
            break
    chosen = list(first.values())[:n]
    others = [one for one in known if one not in chosen]
    return Found(tuple(_with_near(one, others) for one in chosen), number)


def _known(session: "Session", some: Sequence[Candidate]) -> list[Candidate]:
    old, new = session.evaluate([one.case for one in some], [SAYS_OLD, SAYS_NEW])
    right = {row["case"] for row in old.rows if row["value"]} - {row["case"] for row in new.rows if row["value"]}
    return [one for one in some if one.case.request.id in right]


def _with_near(one: Candidate, others: Sequence[Candidate]) -> Case:
    """Its own neighbours, and known facts of its relation, those of the same answer first, none of the new target; and
    known facts of its subject."""
    request = one.case.request
    known = [(other.relation, other.case.request) for other in others]
    alike = [other for relation, other in known if relation == one.relation and other.target_true != request.target_new]
    same_first = sorted(alike, key=lambda other: other.target_true != request.target_true)
    own = one.case.locality.get("neighbour", ())
    more = tuple(map(_probe, same_first[: max(0, NEIGHBOURS - len(own))]))
    others_of = tuple(_probe(other) for _, other in known if other.subject == request.subject)
    near = {"neighbour": (*own, *more), "other_attribution": others_of}
    return evolve(one.case, locality={**one.case.locality, **{facet: some for facet, some in near.items() if some}})


def _probe(request: EditRequest) -> Probe:
    return Probe(request.rendered().text, (str(request.target_true),))
