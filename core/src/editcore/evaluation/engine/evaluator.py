"""The built-in implementation of `editcore_evaluate`: runs the registered metrics by name."""

from collections.abc import Sequence
from typing import Any

from editcore.evaluation.engine.dialogue import DialogueMetric, made, rows_of
from editcore_hooks import Case, Report, hookimpl


class Evaluator:
    """Scores with the metrics that are registered; a name nobody owns is refused by the registry."""

    @hookimpl
    def editcore_evaluate(self, session: Any, cases: Sequence[Case], metrics: Sequence[str]) -> list[Report]:
        from editcore.evaluation.engine.answerers import Present

        every = made(session, metrics)
        asking = [metric for metric in every if isinstance(metric, DialogueMetric)]
        rows = iter(rows_of(asking, cases, Present(session)))
        return [
            metric.report(next(rows)) if isinstance(metric, DialogueMetric) else metric.score(session, cases)
            for metric in every
        ]
