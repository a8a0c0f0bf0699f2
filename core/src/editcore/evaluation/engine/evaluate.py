"""Scoring cases on the current model, by the hook that observers see."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from editcore.cases.reading import identified
from editcore.evaluation.engine.evaluator import Evaluator, respondent
from editcore.evaluation.engine.texts import with_answers
from editcore.plugins.calls import run_evaluate, stage_manager
from editcore_hooks import Case, Report

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession


def evaluate(
    session: "OpenSession",
    cases: Sequence[Case],
    metrics: Sequence[str],
    *,
    protocol: str = "as it stands",
    answers: int = 0,
    preface: Callable[[Case, str], str] | None = None,
) -> list[Report]:
    """The report of each metric; see `editcore.Session.evaluate`, which raises what this does."""
    cases = identified(cases)
    before = None if preface is None else lambda number, prompt: preface(cases[number], prompt)
    found = run_evaluate(stage_manager(session.registry, appliers=[Evaluator(before)]), session, cases, metrics)
    if answers:
        found = with_answers(found, cases, respondent(session, before), answers)
    return [evolve(report, dtype=session.loaded.dtype, protocol=protocol) for report in found]
