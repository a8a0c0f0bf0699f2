"""The built-in implementation of `editcore_evaluate`: runs the registered metrics by name."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from editcore.evaluation.engine.dialogue import DialogueMetric, as_asked, made, rows_of
from editcore_hooks import Case, Report, Session, hookimpl

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession


class Evaluator:
    """Scores with the metrics that are registered; a name nobody owns is refused by the registry."""

    @hookimpl
    def editcore_evaluate(self, session: Session, cases: Sequence[Case], metrics: Sequence[str]) -> list[Report]:
        from editcore.evaluation.engine.answerers import Present

        opened = cast("OpenSession", session)  # this one evaluates for no other host
        every = made(opened, metrics)
        asking = [metric for metric in every if isinstance(metric, DialogueMetric)]
        rows = iter(rows_of(asking, cases, Present(opened)))
        found = (
            metric.report(next(rows)) if isinstance(metric, DialogueMetric) else metric.score(session, cases)
            for metric in every
        )
        return [as_asked(name, report) for name, report in zip(metrics, found, strict=True)]
