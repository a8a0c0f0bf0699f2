"""The built-in implementation of `editcore_evaluate`: runs the registered metrics by name."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from attrs import frozen

from editcore.evaluation.engine.dialogue import DialogueMetric, as_asked, made, rows_of
from editcore_hooks import Case, Report, Session, hookimpl

if TYPE_CHECKING:
    from editcore.evaluation.engine.answerers import Preface, Present
    from editcore.session.open_session import OpenSession


@frozen
class Evaluator:
    """Scores with the metrics that are registered; a name nobody owns is refused by the registry.

    With a `preface`, the current model is given a text before each prompt.
    """

    preface: "Preface | None" = None

    @hookimpl
    def editcore_evaluate(self, session: Session, cases: Sequence[Case], metrics: Sequence[str]) -> list[Report]:
        opened = cast("OpenSession", session)  # this one evaluates for no other host
        every = made(opened, metrics)
        asking = [metric for metric in every if isinstance(metric, DialogueMetric)]
        rows = iter(rows_of(asking, cases, respondent(opened, self.preface)))
        found = (
            metric.report(next(rows)) if isinstance(metric, DialogueMetric) else metric.score(session, cases)
            for metric in every
        )
        return [as_asked(name, report) for name, report in zip(metrics, found, strict=True)]


def respondent(session: "OpenSession", preface: "Preface | None") -> "Present":
    from editcore.evaluation.engine.answerers import Prefaced, Present

    return Present(session) if preface is None else Prefaced(session, preface=preface)
