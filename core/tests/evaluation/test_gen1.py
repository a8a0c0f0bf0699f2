"""The protocol gen-1 against figures computed by hand; the model is a table of what it writes."""

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve, field, frozen

from editcore.cases.reading import LOCALITY, PORTABILITY
from editcore.evaluation.engine.dialogue import NothingAskedError, rows_of
from editcore.evaluation.engine.questions import Answer, Answered, Question, Write
from editcore.evaluation.metrics.builtin import METRICS
from editcore.evaluation.metrics.gen1.asking import TOKENS, in_context
from editcore.evaluation.metrics.gen1.locality import UNKNOWN
from editcore.evaluation.metrics.preference import NO_TRUE
from editcore_hooks import Case, ChatTemplate, EditRequest, Probe, Report

METRIC = {metric.name: metric for metric in METRICS if metric.name.startswith("gen1.")}
CUT = "…"
"""At the end of a text in a table: the model was cut off there."""


@frozen
class Writes:
    """By prompt what the model writes, now and unedited."""

    now: dict[str, str]
    before: dict[str, str] = field(factory=dict)
    each: bool = False

    def answer(self, asked: Sequence[tuple[int, Question]], keep: bool) -> list[Any]:
        return [self._answer(question) for _, question in asked]

    def _answer(self, question: Question) -> Any:
        assert isinstance(question, Write)
        text = (self.before if question.unedited else self.now).get(question.prompt, "")
        if not isinstance(question, Answer):
            return text
        assert question.tokens == TOKENS
        return Answered(text.removesuffix(CUT), stopped=not text.endswith(CUT))


def score(metric: str, model: Writes, *cases: Case) -> Report:
    made = METRIC[metric]()
    return made.report(rows_of([made], cases, model)[0])


def case(subject: str, new: str = "Rome", old: str | None = "Paris", **more: Any) -> Case:
    return Case(EditRequest("{} is in", subject, new, old, id=subject), (f"Where is {subject}?",), **more)


A, B, C, D = (case(name) for name in "ABCD")
FACT = Writes(
    {
        "A is in": " Rome.",
        "B is in": " Rome, and not Paris…",
        "C is in": " Paris. Yes, Paris it is",
        "D is in": " the city of Rome. Rome Rome…",
        "Where is A?": "Rome",
        "Where is B?": "In Rome.",
        in_context("A is in"): " Oslo",
        in_context("Where is B?"): " Rome",
    }
)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("gen1.em@1", 1 / 4),
        ("gen1.contains@1", 3 / 4),
        ("gen1.old_contains@1", 2 / 4),
        ("gen1.strict@1", 2 / 4),
        ("gen1.stop@1", 2 / 4),
        ("gen1.over@1", (0 + 3 + 4 + 4) / 4),  # words but articles: 1, 4, 5 and 5, of an answer of one
        ("gen1.em.rephrase@1", 1 / 4),
        ("gen1.strict.rephrase@1", 2 / 4),
        ("gen1.em.plain@1", 1 / 4),
        ("gen1.contains.qa@1", 0),
        ("gen1.contains.rephrase.qa@1", 1 / 4),
    ],
)
def test_a_measure_of_the_fact_equals_its_value_by_hand(metric: str, value: float) -> None:
    report = score(metric, FACT, A, B, C, D)
    assert (report.value, report.n) == (pytest.approx(value), 4)


def test_every_name_of_the_new_target_counts_and_no_name_that_only_the_subject_or_the_old_one_has() -> None:
    accepted = case("E", accepted=("Roma",))
    assert score("gen1.em@1", Writes({"E is in": "Roma."}), accepted).value == 1
    york = case("York Hall", new="New York", old="York")
    assert score("gen1.strict@1", Writes({"York Hall is in": "York Hall is in New York."}), york).value == 1
    assert score("gen1.strict@1", Writes({"York Hall is in": "New York, in York"}), york).value == 0
    hilton = case("Rome Hilton", new="Rome")
    assert score("gen1.contains@1", Writes({"Rome Hilton is in": "Rome Hilton is in Oslo"}), hilton).value == 0


def test_without_an_old_answer_there_is_nothing_to_look_for() -> None:
    bare = case("A", old=None)
    assert score("gen1.strict@1", FACT, bare).value == 1
    with pytest.raises(NothingAskedError, match=r"gen1\.old_contains@1") as caught:
        score("gen1.old_contains@1", FACT, bare)
    assert NO_TRUE in str(caught.value.hint)


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("own", [None, ChatTemplate(chat=False), ChatTemplate(system="Be brief.")])
def test_the_chat_template_is_usual_where_the_model_has_one_and_the_request_none(
    chat: bool, own: ChatTemplate | None
) -> None:
    asked = evolve(A, request=evolve(A.request, template=own))

    def template(metric: str) -> ChatTemplate | None:
        made = METRIC[metric]()
        made.chat = chat
        (question,) = next(made.ask(asked))
        return question.template

    usual = own if own is not None or not chat else ChatTemplate()
    assert template("gen1.em@1") == usual
    assert template("gen1.em.plain@1") is None
    assert template("gen1.em.qa@1") is None


@pytest.mark.parametrize("facet", PORTABILITY)
def test_each_kind_of_portability_is_a_column_of_its_own(facet: str) -> None:
    known = Probe("K", ("Italy", "the Italian Republic"), also=(("Europe",),), conditions=(Probe("C", ("land",)),))
    unknown = Probe("U", ("Italy",), conditions=(Probe("X", ("land",)),))
    asked = case("A", portability={facet: (known, unknown), "alias": (known, unknown)})
    model = Writes({"K": "Italian Republic, Europe…", "U": "Italy"}, {"C": "A land"})
    report = score(f"gen1.port.{facet}@1", model, asked)
    assert [row["value"] for row in report.rows] == [1.0, None]
    assert {row["about"] for row in report.rows} == {facet}
    assert score(f"gen1.port.{facet}@1", Writes({"K": "Italy"}, {"C": "A land"}), asked).value == 0


NEIGHBOURS = (Probe("N", ("Oslo",)), Probe("M", ("Bern",)), Probe("L", ("Riga",)))
LOCAL = case(
    "A",
    locality={
        "neighbour": NEIGHBOURS,
        "other_attribution": (Probe("O"),),
        "other_task": (Probe("T", ("4",)), Probe("S", ("5",))),
    },
)
LOCALLY = Writes(
    {"N": "It is Oslo.", "M": "Rome", "L": "Riga", "O": "same", "T": "4", "S": "6"},
    {"N": "Oslo", "M": "Bern", "L": "Tallinn", "O": " same\n", "T": "4", "S": "5"},
)


@pytest.mark.parametrize(
    ("metric", "value", "counted"),
    [
        ("gen1.loc.agree@1", 2 / 6, 6),
        ("gen1.loc.agree.neighbour@1", 0, 3),
        ("gen1.loc.agree.other_attribution@1", 1, 1),
        ("gen1.loc.agree.other_task@1", 1 / 2, 2),
        ("gen1.loc.near@1", 1 / 4, 4),
        ("gen1.loc.correct@1", 2 / 4, 4),  # L was never known
        ("gen1.loc.correct.neighbour@1", 1 / 2, 2),
        ("gen1.loc.correct.other_task@1", 1 / 2, 2),
    ],
)
def test_three_readings_of_locality(metric: str, value: float, counted: int) -> None:
    report = score(metric, LOCALLY, LOCAL)
    assert report.value == pytest.approx(value)
    assert sum(row["value"] is not None for row in report.rows) == counted
    assert {row["why"] for row in report.rows if row["value"] is None} <= {UNKNOWN}


@pytest.mark.parametrize("facet", LOCALITY)
def test_every_facet_asks_its_own_probes(facet: str) -> None:
    asked = case("A", locality={facet: (Probe("P", ("x",)),), "neighbour": (Probe("P", ("x",)),)})
    for metric in ("agree", "correct"):
        report = score(f"gen1.loc.{metric}.{facet}@1", Writes({"P": "x"}, {"P": "x"}), asked)
        assert (report.value, [row["about"] for row in report.rows]) == (1, [facet])


def said(truth: str, statement: str) -> str:
    return in_context(f'Is it {truth} that "{statement}"? Answer yes or no.')


CHECKED = Writes(
    {
        said("true", "A is in Rome"): "Yes, no doubt.",
        said("false", "A is in Rome"): "I think yes",
        said("true", "A is in Paris"): "NO.",
        said("false", "A is in Paris"): "It is nobody's.",
    }
)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("gen1.check@1", 2 / 4),
        ("gen1.check.true_new@1", 1),
        ("gen1.check.false_new@1", 0),
        ("gen1.check.true_old@1", 1),
        ("gen1.check.false_old@1", 0),
    ],
)
def test_the_four_cells_of_truth(metric: str, value: float) -> None:
    report = score(metric, CHECKED, A)
    assert (report.value, report.n) == (value, 1)


def test_a_question_is_asked_about_with_its_answer_and_in_the_chat_of_a_chat_model() -> None:
    asked = Case(EditRequest("Where is {}?", "A", "Rome", id="A"))
    made = METRIC["gen1.check@1"]()
    made.chat = True
    questions = list(next(made.ask(asked)))
    assert [question.prompt for question in questions] == [
        f'Is it {truth} that the answer to "Where is A?" is "Rome"? Answer yes or no.' for truth in ("true", "false")
    ]
    assert {question.template for question in questions} == {ChatTemplate()}
    rows = made.judgement(asked, [Answered("yes", True), Answered("no", True)])
    assert [row["value"] for row in rows] == [1, 1, None, None]
