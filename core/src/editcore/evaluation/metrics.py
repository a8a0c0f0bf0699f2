"""The built-in metrics. Each has a version: a changed definition is a new name, so two figures can be compared.

Preference scores after Meng et al. 2022 (ROME), section 3.3: a target is preferred when its mean log-probability per
token is higher. A value is the mean over cases of the share within the case, its interval is over cases.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any, ClassVar, Final

from editcore.evaluation.intervals import wilson
from editcore_hooks import Case, Metric, Report, UsageError

Question = tuple[Case, str, str]
"""A case, a full prompt and a target to score after it; template and joining rule are those of the case."""


def edit_prompts(case: Case) -> tuple[str, ...]:
    return (case.request.rendered().text,)


def score(session: Any, questions: Sequence[Question]) -> list[Any]:
    scores: list[Any] = session.score_targets(
        [(prompt, target, case.request.template, case.request.target_prefix) for case, prompt, target in questions]
    )
    return scores


class Preference(Metric):
    """Share of prompts on which one target is preferred to the other. Cases that have no such prompt do not count."""

    prefer_new: ClassVar[bool] = True

    def prompts(self, case: Case) -> Sequence[tuple[str, str]]:
        """Pairs of prompt and the true answer there."""
        raise NotImplementedError

    def score(self, session: Any, cases: Sequence[Case]) -> Report:
        asked = [(case, prompt, true) for case in cases for prompt, true in self.prompts(case)]
        new = score(session, [(case, prompt, case.request.target_new) for case, prompt, _ in asked])
        old = score(session, asked)
        outcomes: dict[str, list[float]] = {}
        rows = []
        for (case, prompt, true), p_new, p_true in zip(asked, new, old, strict=True):
            gap = p_new.mean - p_true.mean
            good = gap > 0 if self.prefer_new else gap < 0
            outcomes.setdefault(case.request.id, []).append(float(good))
            rows.append(
                {
                    "case": case.request.id,
                    "prompt": prompt,
                    "target_new": case.request.target_new,
                    "target_true": true,
                    "logprob_new": p_new.mean,
                    "logprob_true": p_true.mean,
                    "value": float(good),
                }
            )
        return over_cases(self.name, outcomes, rows)


class PreferenceEfficacy(Preference):
    name = "pref.es@1"
    summary = "share of edits whose prompt prefers the new target to the true one"

    def prompts(self, case: Case) -> Sequence[tuple[str, str]]:
        return [(prompt, _true(case, self.name)) for prompt in edit_prompts(case)]


class PreferenceParaphrase(Preference):
    name = "pref.ps@1"
    summary = "the same on paraphrases of the prompt"

    def prompts(self, case: Case) -> Sequence[tuple[str, str]]:
        return [(prompt, _true(case, self.name)) for prompt in case.rephrases]


class PreferenceNeighbourhood(Preference):
    name = "pref.ns@1"
    summary = "share of prompts about other subjects that still prefer their true target to the new one"
    prefer_new = False

    def prompts(self, case: Case) -> Sequence[tuple[str, str]]:
        probes = case.locality.get("neighbour", ())
        return [(probe.prompt, probe.targets[0]) for probe in probes if probe.targets]


class PreferenceScore(Metric):
    name = "pref.score@1"
    summary = "harmonic mean of pref.es@1, pref.ps@1 and pref.ns@1"

    def score(self, session: Any, cases: Sequence[Case]) -> Report:
        parts = [
            metric().score(session, cases)
            for metric in (PreferenceEfficacy, PreferenceParaphrase, PreferenceNeighbourhood)
        ]
        return harmonic(parts)


def harmonic(parts: Sequence[Report]) -> Report:
    """The harmonic mean of the three preference scores; its interval is that of the bounds of the parts."""
    n = min(part.n for part in parts)

    def mean(values: list[float]) -> float:
        return 0.0 if min(values) <= 0 else len(values) / sum(1 / value for value in values)

    values = [[getattr(part, bound) for part in parts] for bound in ("value", "low", "high")]
    return Report(PreferenceScore.name, mean(values[0]), n, mean(values[1]), mean(values[2]))


class TeacherForcedToken(Metric):
    name = "tf.token@1"
    summary = "share of target tokens that are the arg-max, teacher-forced"

    def score(self, session: Any, cases: Sequence[Case]) -> Report:
        return _teacher_forced(self.name, session, cases, fmean)


class TeacherForcedExact(Metric):
    name = "tf.exact@1"
    summary = "share of edits with every target token the arg-max, teacher-forced"

    def score(self, session: Any, cases: Sequence[Case]) -> Report:
        return _teacher_forced(self.name, session, cases, lambda hits: float(all(hits)))


def over_cases(name: str, outcomes: dict[str, list[float]], rows: Sequence[dict[str, Any]]) -> Report:
    """The mean over cases of the mean within each, with its interval. Raises `UsageError` when nothing was asked."""
    if not outcomes:
        raise UsageError(f"none of the cases has a prompt that {name} asks", hint="add rephrases or locality probes")
    means = [fmean(values) for values in outcomes.values()]
    value = fmean(means)
    return Report(name, value, len(means), *wilson(value, len(means)), rows=tuple(rows))


def _teacher_forced(name: str, session: Any, cases: Sequence[Case], reduce: Any) -> Report:
    questions = [(case, edit_prompts(case)[0], case.request.target_new) for case in cases]
    outcomes, rows = {}, []
    for (case, prompt, target), scored in zip(questions, score(session, questions), strict=True):
        outcomes[case.request.id] = [float(reduce([float(hit) for hit in scored.hits]))]
        rows.append(
            {"case": case.request.id, "prompt": prompt, "target_new": target, "value": outcomes[case.request.id][0]}
        )
    return over_cases(name, outcomes, rows)


def _true(case: Case, metric: str) -> str:
    if case.request.target_true is None:
        raise UsageError(
            f"{metric} compares with the true target, and {case.request.prompt!r} names none",
            hint="add --target-true (or target_true in the request)",
        )
    return case.request.target_true


METRICS: Final = [
    PreferenceEfficacy,
    PreferenceParaphrase,
    PreferenceNeighbourhood,
    PreferenceScore,
    TeacherForcedToken,
    TeacherForcedExact,
]
