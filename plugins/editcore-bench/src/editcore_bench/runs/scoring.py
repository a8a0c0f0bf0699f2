"""Rows of a run: what each metric says of each prompt of a case, with how many edits were on when it was asked."""

from collections.abc import Sequence
from typing import Any, Literal

from attrs import frozen

from editcore.editing.session import Session
from editcore.patches.patch import Patch
from editcore_bench.runs import _until_metrics as shim
from editcore_hooks import Case, Report

Phase = Literal["single", "batch", "immediate", "gap", "final"]
"""When a case was scored: alone, with its batch on, right after its own edit of a sequence, some edits later, or
together with all edits so far."""

Row = dict[str, Any]


@frozen
class Scorer:
    """Scores cases by the metrics of a spec. Rows have `metric`, `phase`, `edits` (how many are on) and the metric's own
    keys: `case`, `about`, `prompt`, `target`, `value`, and the texts before and after."""

    session: Session
    metrics: tuple[str, ...]
    answer_tokens: int

    def alone(self, cases: Sequence[Case], patches: Sequence[Patch]) -> list[Row]:
        """Each case with its own patch and no other."""
        reports = shim.evaluate_each(self.session, cases, patches, self.metrics, answers=self.answer_tokens)
        return _rows(reports, "single", 1)

    def together(self, cases: Sequence[Case], phase: Phase, edits: int) -> list[Row]:
        """The model as it stands."""
        protocol = "batch" if phase == "batch" else "sequential"
        reports = shim.evaluate(self.session, cases, self.metrics, protocol=protocol, answers=self.answer_tokens)
        return _rows(reports, phase, edits)


def _rows(reports: Sequence[Report], phase: Phase, edits: int) -> list[Row]:
    return [
        {"metric": report.metric, "phase": phase, "edits": edits, **row} for report in reports for row in report.rows
    ]
