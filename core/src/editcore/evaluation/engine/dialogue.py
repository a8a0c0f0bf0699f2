"""Metrics as conversations: each asks questions about a case, hears the answers, and ends with its rows.

Because a metric never runs a model itself, the questions of all metrics about all cases are put together.
"""

from collections.abc import Generator, Iterator, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, cast

from attrs import evolve

from editcore.evaluation.engine.questions import Question
from editcore.evaluation.reports.intervals import normal, wilson
from editcore_hooks import Case, Metric, Report, Session, UsageError
from editcore_hooks.plugins import Better

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

Row = dict[str, Any]
Conversation = Generator[Sequence[Question], Sequence[Any], list[Row]]
"""Yields questions, is sent their answers in order, returns rows."""


class Answerer(Protocol):
    """Answers the questions about many cases at once."""

    def answer(self, asked: Sequence[tuple[int, Question]], keep: bool) -> Sequence[Any]:
        """The answer to each question about a case, by number. `keep`: it will be asked again of the same model."""
        ...

    @property
    def each(self) -> bool:
        """Whether every case has an edited model of its own."""
        ...


class NothingAskedError(UsageError):
    """None of the cases has a prompt that a metric asks."""


class DialogueMetric(Metric):
    """A metric that only asks: `questions` about a case, and by their answers the `judgement`, its rows.

    Where a question depends on an answer, override `ask`, the whole conversation in rounds, in place of both.
    `report` is the figure of all rows.
    """

    better: ClassVar[Better] = "higher"
    share: ClassVar[bool] = True

    @classmethod
    def of(cls, session: Session) -> Self:
        """The metric as it scores in a session."""
        return cls()

    def questions(self, case: Case) -> Sequence[Question]:
        """The questions about a case, all at once."""
        raise NotImplementedError

    def judgement(self, case: Case, answers: Sequence[Any]) -> list[Row]:
        """The rows of a case by the answers to its questions, in their order; `Unanswered` where one has none."""
        raise NotImplementedError

    def ask(self, case: Case) -> Conversation:
        """The conversation about one case."""
        answers = yield self.questions(case)
        return self.judgement(case, answers)

    def report(self, rows: Sequence[Row]) -> Report:
        """The figure of all rows: by default the mean over cases of the mean of their rows, with its interval."""
        return over_cases(self.name, rows, share=self.share)

    def score(self, session: Session, cases: Sequence[Case]) -> Report:
        from editcore.evaluation.engine.answerers import Present

        return self.report(rows_of([self], cases, Present(cast("OpenSession", session)))[0])


def made(session: "OpenSession", names: Sequence[str]) -> list[Metric]:
    """The registered metrics of these names, for a session. Raises `PluginError` for a name nobody owns."""
    classes = [session.registry.metric(name) for name in names]
    return [cls.of(session) if issubclass(cls, DialogueMetric) else cls() for cls in classes]


def as_asked(name: str, report: Report) -> Report:
    """The report under the name that was asked for, where that names the distribution too."""
    return evolve(report, metric=name) if ":" in name else report


def rows_of(metrics: Sequence[DialogueMetric], cases: Sequence[Case], respondent: Answerer) -> list[list[Row]]:
    """The rows of each metric. Raises what a metric refuses."""
    talks: list[tuple[int, int, Conversation]] = []
    for number, metric in enumerate(metrics):
        of_model = metric.of_model and not respondent.each
        talks += [(number, c, metric.ask(case)) for c, case in enumerate(cases[:1] if of_model else cases)]
    rows: list[list[Row]] = [[] for _ in metrics]
    for (number, _, _), found in zip(talks, converse([talk[1:] for talk in talks], respondent), strict=True):
        of_model = metrics[number].of_model and not respondent.each
        rows[number] += [{**row, "case": None} for row in found] if of_model else found
    return rows


def converse(talks: Sequence[tuple[int, Conversation]], respondent: Answerer) -> list[list[Row]]:
    """Hold all conversations, each about a case by number, in rounds: one call of the respondent a round."""
    rows: list[list[Row]] = [[] for _ in talks]
    waiting = dict(_heard(talks, rows, dict.fromkeys(range(len(talks)))))
    keep = True  # the first questions do not depend on the edited model's answers
    while waiting:
        asked = [(talks[number][0], question) for number, questions in waiting.items() for question in questions]
        answers = iter(respondent.answer(asked, keep))
        heard = {number: [next(answers) for _ in questions] for number, questions in waiting.items()}
        waiting, keep = dict(_heard(talks, rows, heard)), False
    return rows


def _heard(
    talks: Sequence[tuple[int, Conversation]], rows: list[list[Row]], heard: dict[int, Any]
) -> Iterator[tuple[int, Sequence[Question]]]:
    """Let each go on from what it heard; those that end leave their rows."""
    for number, answers in heard.items():
        try:
            yield number, talks[number][1].send(answers)
        except StopIteration as end:
            rows[number] = end.value


def over_cases(name: str, rows: Sequence[Row], *, share: bool = True) -> Report:
    """The mean over cases of the mean of the tests within each, with its interval; a row without a value is no test.

    Rows of one `group` are one test, as good as the worst of them by the rule `all`, the best by `any`. Rows of no case
    count each by itself. Raises `NothingAskedError` when no row counts.
    """
    tests: dict[tuple[Any, Any], list[float]] = {}
    rules: dict[tuple[Any, Any], str] = {}
    for number, row in enumerate(rows):
        if row["value"] is not None:
            group = (row["about"], row["group"]) if row.get("group") else number
            test = (number if row["case"] is None else row["case"], group)
            tests.setdefault(test, []).append(row["value"])
            rules[test] = row.get("rule", "all")
    cases: dict[Any, list[float]] = {}
    for test, values in tests.items():
        cases.setdefault(test[0], []).append(max(values) if rules[test] == "any" else min(values))
    if not cases:
        message = f"no case has a prompt that counts for {name}"
        raise NothingAskedError(message, hint=_hint(rows))
    means = [fmean(values) for values in cases.values()]
    value = fmean(means)
    low, high = wilson(value, len(means)) if share else normal(means)
    return Report(name, value, len(means), low, high, rows=tuple(rows))


def _hint(rows: Sequence[Row]) -> str:
    reasons = sorted({row["why"] for row in rows if row.get("why")})
    return f"use other cases: {'; '.join(reasons)}" if reasons else "add rephrases or probes for it to the cases"
