"""Checks of a metric: a figure of the present model and of its rows, the same however the cases are put together."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from attrs import evolve

from editcore.facade import Session
from editcore.testing.declared_checks import DeclaredChecks
from editcore.testing.sample_cases import CASES
from editcore.testing.traceless import assert_draws_nothing, assert_refused, assert_traceless
from editcore_hooks import Case, Metric, Report, Site, UsageError

ROW = ("case", "about", "prompt", "target", "value")


class MetricChecks(DeclaredChecks):
    """Judged on taught facts; override `cases` for a metric that needs others."""

    metric: ClassVar[str]
    cases: ClassVar[tuple[Case, ...]] = CASES
    cases_without: ClassVar[tuple[Case, ...]] = ()
    """Cases that lack what the metric needs; by default `cases` without probes and true targets."""

    @property
    def cls(self) -> type[Metric]:
        return self.known.metric(self.metric)

    def scored(self, session: Session, cases: Sequence[Case] | None = None) -> Report:
        (report,) = session.evaluate(self.cases if cases is None else cases, [self.metric])
        return report

    def test_its_name_has_a_version(self) -> None:
        assert re.fullmatch(r".+@[1-9]\d*", self.cls.name), "write NAME@1: a changed definition is another figure"

    def test_the_model_is_left_as_it_was(self, session: Session) -> None:
        assert_traceless(session, lambda: self.scored(session))

    def test_random_state_is_left_as_it_was(self, session: Session) -> None:
        assert_draws_nothing(session, lambda: self.scored(session))

    def test_two_runs_agree(self, session: Session) -> None:
        if self.cls.of_patch:
            pytest.skip("it measures the cost of an edit, which differs between two runs")
        assert _figures(self.scored(session)) == _figures(self.scored(session))

    def test_value_and_rows_are_in_order(self, session: Session) -> None:
        report = self.scored(session)
        assert report.n >= 1, "it scored no case"
        assert report.low <= report.value <= report.high, "the value lies outside its interval"
        if self.cls.share:
            values = [report.value, *(row["value"] for row in report.rows if row["value"] is not None)]
            assert all(0 <= value <= 1 for value in values), "a share lies outside [0, 1]"
        for row in report.rows:
            missing = [key for key in ROW if key not in row]
            assert not missing, f"a row has no {missing[0]!r}"
            assert row["value"] is None or math.isfinite(row["value"]), "a row's value is not finite"
            json.dumps(row, allow_nan=False)

    def test_the_order_of_cases_does_not_matter(self, session: Session) -> None:
        if self.cls.of_model or self.cls.of_patch:
            pytest.skip("it does not score single cases")
        forwards, backwards = self.scored(session), self.scored(session, self.cases[::-1])
        assert forwards.value == pytest.approx(backwards.value, abs=self.score_tolerance)
        assert _by_case(forwards) == pytest.approx(_by_case(backwards), abs=self.score_tolerance)

    def test_a_case_is_scored_alike_alone_and_among_others(self, session: Session) -> None:
        if self.cls.of_model or self.cls.of_patch:
            pytest.skip("it does not score single cases")
        together = _by_case(self.scored(session))
        alone: dict[Any, float] = {}
        for case in self.cases:
            try:
                alone |= _by_case(self.scored(session, [case]))
            except UsageError:
                continue  # it has nothing to ask of this case
        assert together.keys() == alone.keys()
        assert together == pytest.approx(alone, abs=self.score_tolerance)

    def test_what_it_needs_is_needed(self, session: Session) -> None:
        if not self.cls.needs:
            self.scored(session, [Case(evolve(self.cases[0].request, target_true=None))])
            return
        stripped = tuple(Case(evolve(case.request, target_true=None)) for case in self.cases)
        bare = self.cases_without or stripped
        assert self.cls.lacking(self.cases) == (), "the cases lack what it needs: override `cases`"
        wanted = ", ".join(need.words for need in self.cls.needs)
        assert self.cls.lacking(bare), f"these cases have {wanted}: set `cases_without` to cases that lack it"
        assert_refused(lambda: self.scored(session, bare), "cases without what it needs")

    def test_it_reads_the_model_as_it_is_now(self, session: Session) -> None:
        if self.cls.of_patch:
            pytest.skip("it measures an edit, and no model")
        before = self.scored(session)
        with torch.no_grad():  # a change no answer survives
            session.anatomy.weight(Site("mlp_out", 0)).mul_(-3)
        after = self.scored(session)
        assert _figures(before) != _figures(after), "the figure of a wrecked model is that of the model before"


def _figures(report: Report) -> list[Any]:
    return [report.value, *(row["value"] for row in report.rows)]


def _by_case(report: Report) -> dict[Any, float]:
    """The sum of the rows' values of each case."""
    found: dict[Any, float] = {}
    for row in report.rows:
        if row["value"] is not None:
            found[row["case"]] = found.get(row["case"], 0.0) + row["value"]
    return found
