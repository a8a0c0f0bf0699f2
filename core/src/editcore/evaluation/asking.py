"""Metrics as conversations: each asks questions about a case, hears the answers, and ends with its rows.

Because a metric never runs a model itself, the questions of all metrics about all cases are put together.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from statistics import fmean
from typing import Any, ClassVar, Protocol

from editcore.evaluation.intervals import normal, wilson
from editcore.evaluation.questions import Question
from editcore_hooks import Case, Metric, Report, UsageError

Row = dict[str, Any]
Conversation = Generator[Sequence[Question], Sequence[Any], list[Row]]
"""Yields questions, is sent their answers in order, returns rows."""


class Respondent(Protocol):
    """Answers the questions about many cases at once."""

    def answer(self, asked: Sequence[tuple[int, Question]], keep: bool) -> Sequence[Any]:
        """The answer to each question about a case, by number. `keep`: it will be asked again of the same model."""
        ...

    @property
    def models(self) -> int:
        """How many edited models there are: one for all cases, or one a case."""
        ...


class NothingAskedError(UsageError):
    """None of the cases has a prompt that a metric asks."""


class AskingMetric(Metric):
    """A metric that only asks. `ask` is the conversation about one case, `report` the figure of all rows."""

    share: ClassVar[bool] = True
    """Whether a row's value lies in [0, 1]."""
    of_model: ClassVar[bool] = False
    """Whether it says something of the model and nothing of the case."""

    def ask(self, case: Case) -> Conversation:
        raise NotImplementedError

    def report(self, rows: Sequence[Row]) -> Report:
        return over_cases(self.name, rows, share=self.share)

    def score(self, session: Any, cases: Sequence[Case]) -> Report:
        from editcore.evaluation.present import Present

        return reports([self], cases, Present(session))[0]


def reports(metrics: Sequence[AskingMetric], cases: Sequence[Case], respondent: Respondent) -> list[Report]:
    """The report of each metric. Raises `NothingAskedError`, and what a metric refuses."""
    talks: list[tuple[int, int, Conversation]] = []
    for number, metric in enumerate(metrics):
        asked = cases[:1] if metric.of_model and respondent.models == 1 else cases
        talks += [(number, c, metric.ask(case)) for c, case in enumerate(asked)]
    rows = converse([(c, talk) for _, c, talk in talks], respondent)
    of_metric: list[list[Row]] = [[] for _ in metrics]
    for (number, _, _), found in zip(talks, rows, strict=True):
        of_metric[number] += found
    for metric, found in zip(metrics, of_metric, strict=True):
        if metric.of_model and respondent.models == 1:
            for row in found:
                row["case"] = None
    return [metric.report(found) for metric, found in zip(metrics, of_metric, strict=True)]


def converse(talks: Sequence[tuple[int, Conversation]], respondent: Respondent) -> list[list[Row]]:
    """Hold all conversations, each about a case by number, in rounds: one call of the respondent a round."""
    rows: list[list[Row]] = [[] for _ in talks]
    waiting = dict(_heard(talks, rows, {number: None for number in range(len(talks))}))
    keep = True  # what is asked first does not depend on what the edited model said
    while waiting:
        asked = [(talks[number][0], question) for number, questions in waiting.items() for question in questions]
        answers = iter(respondent.answer(asked, keep))
        heard = {number: [next(answers) for _ in questions] for number, questions in waiting.items()}
        waiting, keep = dict(_heard(talks, rows, heard)), False
    return rows


def first_questions(metrics: Sequence[AskingMetric], cases: Sequence[Case]) -> list[tuple[int, Question]]:
    """What will be asked whatever the model answers."""
    found: list[tuple[int, Question]] = []
    for metric in metrics:
        for number, case in enumerate(cases):
            found += [(number, question) for question in next(metric.ask(case), ())]
    return found


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
    """The mean over cases of the mean of the rows within each, with its interval; rows without a value do not count.

    Rows of no case count each by itself. Raises `NothingAskedError` when no row counts.
    """
    outcomes: dict[Any, list[float]] = {}
    for number, row in enumerate(rows):
        if row["value"] is not None:
            outcomes.setdefault(number if row["case"] is None else row["case"], []).append(row["value"])
    if not outcomes:
        raise NothingAskedError(
            f"none of the cases has a prompt that {name} asks, or that counts for it", hint=_hint(rows)
        )
    means = [fmean(values) for values in outcomes.values()]
    interval: Callable[[Sequence[float]], tuple[float, float]] = normal
    if share:
        interval = lambda values: wilson(fmean(values), len(values))  # noqa: E731
    return Report(name, fmean(means), len(means), *interval(means), rows=tuple(rows))


def _hint(rows: Sequence[Row]) -> str:
    reasons = sorted({row["why"] for row in rows if row.get("why")})
    return f"of those asked: {'; '.join(reasons)}" if reasons else "add rephrases or probes for it to the cases"
