"""Rows of a run: what each metric says of each prompt of a case, with how many edits were on when it was asked."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal

from attrs import frozen

from editcore import Session
from editcore.authoring.evaluation import NothingAskedError
from editcore.authoring.patches import Patch
from editcore_hooks import Case, Report

Phase = Literal["single", "batch", "immediate", "gap", "final"]
"""When a case was scored: alone, with its batch on, right after its own edit of a sequence, some edits later, or
together with all edits so far."""

Row = dict[str, Any]


@frozen
class Scorer:
    """Scores cases by the metrics of a spec. Rows have `metric`, `phase`, `edits` (how many are on) and the metric's
    own keys: `case`, `about`, `prompt`, `target`, `value`, and the texts before and after.

    A metric that asks nothing of the cases at hand has no rows.
    """

    session: Session
    metrics: tuple[str, ...]
    answer_tokens: int

    def alone(self, cases: Sequence[Case], patches: Sequence[Patch]) -> list[Row]:
        """Each case with its own patch and no other."""

        def score(metrics: Sequence[str]) -> list[Report]:
            return self.session.evaluate_each(cases, patches, metrics, answers=self.answer_tokens)

        return _rows(_those_asked(score, self.metrics), "single", 1)

    def together(self, cases: Sequence[Case], phase: Phase, edits: int) -> list[Row]:
        """The current model. Figures of the model as a whole are left out when one edit is scored."""
        protocol = "batch" if phase == "batch" else "sequential"
        metrics = [name for name in self.metrics if phase in ("batch", "final") or not self._of_model(name)]

        def score(metrics: Sequence[str]) -> list[Report]:
            return self.session.evaluate(cases, metrics, protocol=protocol, answers=self.answer_tokens)

        return _rows(_those_asked(score, metrics), phase, edits)

    def prefaced(
        self, cases: Sequence[Case], phase: Phase, edits: int, preface: Callable[[Case, str], str]
    ) -> list[Row]:
        """The current model, with a text before each prompt."""
        each = phase in ("batch", "final", "single")
        metrics = [name for name in self.metrics if each or not self._of_model(name)]

        def score(metrics: Sequence[str]) -> list[Report]:
            return self.session.evaluate(cases, metrics, answers=self.answer_tokens, preface=preface)

        return _rows(_those_asked(score, metrics), phase, edits)

    def _of_model(self, name: str) -> bool:
        return self.session.registry.metric(name).of_model


def _those_asked(score: Any, metrics: Sequence[str]) -> list[Report]:
    """All metrics in one go; where one asks nothing of these cases, one by one without it."""
    try:
        return list(score(metrics)) if metrics else []
    except NothingAskedError:
        found = []
        for name in metrics:
            with suppress(NothingAskedError):
                found += score([name])
        return found


def _rows(reports: Sequence[Report], phase: Phase, edits: int) -> list[Row]:
    return [
        {"metric": report.metric, "phase": phase, "edits": edits, **_finite(row)}
        for report in reports
        for row in report.rows
    ]


def _finite(row: Any) -> Row:
    """JSON has no infinity: a model that is broken beyond measure is told of in words, and does not count."""
    endless = {key: str(value) for key, value in row.items() if isinstance(value, float) and not math.isfinite(value)}
    if "value" in endless:
        return {**row, **endless, "value": None, "why": f"the value is {endless['value']}"}
    return {**row, **endless}
