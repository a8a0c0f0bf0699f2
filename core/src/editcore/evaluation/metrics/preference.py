"""Preference scores after Meng et al. 2022 (ROME), section 3.3, and their harmonic mean.

A target is preferred when its mean log-probability a token is higher. A value is the mean over cases of the share
within the case. A request without a true target has nothing to be compared with: its rows do not count.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from attrs import evolve

from editcore.evaluation.engine.dialogue import DialogueMetric, Row, over_cases
from editcore.evaluation.engine.questions import Question, Scored, score
from editcore.evaluation.metrics.rows import facts, judged, row
from editcore_hooks import Case, EditRequest, Need, Report
from editcore_hooks.needs import NEIGHBOUR, TRUE_TARGET

NO_TRUE: Final = "a request names no true target (target_true, or --target-true)"

REPHRASED: Final = Need(
    "a rephrase of a request with a true target",
    lambda case: case.request.target_true is not None and bool(case.rephrases),
)


class Preference(DialogueMetric):
    """Share of prompts on which one target is preferred to the other. Cases that have no such prompt do not count."""

    prefer_new: ClassVar[bool] = True

    def pairs(self, case: Case) -> Sequence[tuple[str, str, EditRequest, str | None]]:
        """The subject matter (`about`), the prompt, the request whose new target is compared, and the true answer."""
        raise NotImplementedError

    def questions(self, case: Case) -> Sequence[Question]:
        return [
            score(request, prompt, target)
            for _, prompt, request, true in self.pairs(case)
            if true is not None
            for target in (request.target_new, true)
        ]

    def judgement(self, case: Case, answers: Sequence[Any]) -> list[Row]:
        given = iter(answers)
        rows = []
        for about, prompt, request, true in self.pairs(case):
            new = request.target_new
            target, texts = new if self.prefer_new else true, {"target_new": new, "target_true": true}
            if true is None:
                rows.append(row(case, about, prompt, target, None, **texts, why=NO_TRUE))
            else:
                pair = (next(given), next(given))
                rows.append(judged(case, about, prompt, target, pair, self.judge, **texts))
        return rows

    def judge(self, new: Scored, true: Scored) -> tuple[float, dict[str, Any]]:
        gap = new.mean - true.mean
        good = gap > 0 if self.prefer_new else gap < 0
        return float(good), {"logprob_new": new.mean, "logprob_true": true.mean}


class PreferenceEfficacy(Preference):
    name = "pref.es@1"
    summary = "share of edits whose prompt prefers the new target to the true one"
    needs = (TRUE_TARGET,)
    usual = True

    def pairs(self, case: Case) -> Sequence[tuple[str, str, EditRequest, str | None]]:
        return [("edit", prompt, request, request.target_true) for prompt, request in facts(case, "edit")]


class PreferenceParaphrase(Preference):
    name = "pref.ps@1"
    summary = "the same on paraphrases of the prompt"
    needs = (REPHRASED,)
    usual = True

    def pairs(self, case: Case) -> Sequence[tuple[str, str, EditRequest, str | None]]:
        return [("rephrase", prompt, request, request.target_true) for prompt, request in facts(case, "rephrase")]


class PreferenceNeighbourhood(Preference):
    name = "pref.ns@1"
    summary = "share of prompts about other subjects that still prefer their true target to the new one"
    needs = (NEIGHBOUR,)
    usual = True
    prefer_new = False

    def pairs(self, case: Case) -> Sequence[tuple[str, str, EditRequest, str | None]]:
        near = case.locality.get("neighbour", ())
        return [("neighbour", probe.prompt, case.request, probe.targets[0]) for probe in near if probe.targets]


PARTS = (PreferenceEfficacy, PreferenceParaphrase, PreferenceNeighbourhood)


class PreferenceScore(DialogueMetric):
    name = "pref.score@1"
    summary = "harmonic mean of pref.es@1, pref.ps@1 and pref.ns@1"
    needs = (TRUE_TARGET, REPHRASED, NEIGHBOUR)
    usual = True

    def questions(self, case: Case) -> Sequence[Question]:
        return [question for part in PARTS for question in part().questions(case)]

    def judgement(self, case: Case, answers: Sequence[Any]) -> list[Row]:
        given = iter(answers)
        rows: list[Row] = []
        for part in PARTS:
            own = [next(given) for _ in part().questions(case)]
            rows += [{**each, "part": part.name} for each in part().judgement(case, own)]
        return rows

    def report(self, rows: Sequence[Row]) -> Report:
        parts = [over_cases(part.name, [each for each in rows if each["part"] == part.name]) for part in PARTS]
        return evolve(harmonic(parts), rows=tuple(rows))


def harmonic(parts: Sequence[Report]) -> Report:
    """The harmonic mean of the three preference scores; its interval is that of the bounds of the parts."""
    n = min(part.n for part in parts)

    def mean(values: list[float]) -> float:
        return 0.0 if min(values) <= 0 else len(values) / sum(1 / value for value in values)

    values = [[getattr(part, bound) for part in parts] for bound in ("value", "low", "high")]
    return Report(PreferenceScore.name, mean(values[0]), n, mean(values[1]), mean(values[2]))
