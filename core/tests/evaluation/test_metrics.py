"""Metrics against hand-computed values and a deliberately wrong model; the session is a table of log-probabilities."""

from typing import Any

import pytest
from attrs import frozen

from editcore.evaluation.intervals import wilson
from editcore.evaluation.metrics import METRICS
from editcore.evaluation.requirements import check, parse_requirement
from editcore_hooks import Case, EditRequest, Probe, RequirementNotMetError, UsageError

METRIC = {metric.name: metric for metric in METRICS}


@frozen
class Scored:
    mean: float
    hits: tuple[bool, ...]


class Table:
    """Knows (prompt, target) → log-probability; `hits` are right when it is above -1."""

    def __init__(self, logprobs: dict[tuple[str, str], float]) -> None:
        self.logprobs = logprobs

    def score_targets(self, questions: list[tuple[Any, ...]]) -> list[Scored]:
        values = [self.logprobs[prompt, target] for prompt, target, *_ in questions]
        return [Scored(value, (value > -1, value > -3)) for value in values]


def case(name: str, rephrases: int = 2) -> Case:
    request = EditRequest(prompt="{} is", subject=name, target_new="new", target_true="old", id=name)
    return Case(
        request,
        tuple(f"so {name} is {i}" for i in range(rephrases)),
        {"neighbour": (Probe(f"not {name} 0", ("old",)), Probe(f"not {name} 1", ("older", "old")))},
    )


def table(new: dict[str, float], old: dict[str, float], older: float = -2.0) -> Table:
    logprobs = {(prompt, "new"): value for prompt, value in new.items()}
    logprobs |= {(prompt, "old"): value for prompt, value in old.items()}
    logprobs |= {(prompt, "older"): older for prompt in old}
    return Table(logprobs)


PROMPTS = ["A is", "B is", "so A is 0", "so A is 1", "so B is 0", "so B is 1"]
NEIGHBOURS = ["not A 0", "not A 1", "not B 0", "not B 1"]
EDITED = table(
    {**dict.fromkeys(PROMPTS, -0.5), "so B is 1": -4.0, **dict.fromkeys(NEIGHBOURS, -3.0), "not A 0": -0.1},
    dict.fromkeys(PROMPTS + NEIGHBOURS, -2.0),
)
WRONG = table(dict.fromkeys(PROMPTS, -9.0) | dict.fromkeys(NEIGHBOURS, 0.0), dict.fromkeys(PROMPTS + NEIGHBOURS, -2.0))


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("pref.es@1", 1.0),
        ("pref.ps@1", (1.0 + 0.5) / 2),
        ("pref.ns@1", (0.5 + 1.0) / 2),
        ("pref.score@1", 3 / (1 / 1 + 1 / 0.75 + 1 / 0.75)),
        ("tf.token@1", 1.0),
        ("tf.exact@1", 1.0),
    ],
)
def test_metric_equals_the_value_by_hand(metric: str, value: float) -> None:
    report = METRIC[metric]().score(EDITED, [case("A"), case("B")])
    assert report.value == pytest.approx(value)
    assert report.n == 2
    assert report.low <= report.value <= report.high


@pytest.mark.parametrize("metric", sorted(METRIC))
def test_a_wrong_model_scores_nothing(metric: str) -> None:
    assert METRIC[metric]().score(WRONG, [case("A"), case("B")]).value == 0.0


def test_cases_count_alike_however_many_prompts_they_have() -> None:
    report = METRIC["pref.ps@1"]().score(EDITED, [case("A", 1), case("B", 2)])
    assert report.value == pytest.approx((1.0 + 0.5) / 2)


def test_a_metric_that_no_case_can_answer_is_refused() -> None:
    with pytest.raises(UsageError, match=r"pref\.ps@1"):
        METRIC["pref.ps@1"]().score(EDITED, [case("A", 0)])


def test_preference_without_a_true_target_is_refused() -> None:
    bare = Case(EditRequest(prompt="{} is", subject="A", target_new="new"))
    with pytest.raises(UsageError, match="target-true"):
        METRIC["pref.es@1"]().score(EDITED, [bare])


def test_wilson_interval_by_hand() -> None:
    low, high = wilson(0.5, 10)
    assert (low, high) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    assert wilson(1.0, 200) == (pytest.approx(0.98115, abs=1e-5), 1.0)


def test_a_requirement_is_met_or_refused_by_its_figure() -> None:
    report = METRIC["pref.ps@1"]().score(EDITED, [case("A"), case("B")])
    check([parse_requirement("pref.ps@1>=0.75")], [report])
    with pytest.raises(RequirementNotMetError, match=r"pref.ps@1>=0.8 but it is 0.75"):
        check([parse_requirement("pref.ps@1 >= 0.8")], [report])


@pytest.mark.parametrize("text", ["pref.es", "pref.es@1=1", "pref.es@1>=high", ">=1"])
def test_a_requirement_must_be_metric_comparison_number(text: str) -> None:
    with pytest.raises(UsageError, match=r"pref\.es@1>=0\.9"):
        parse_requirement(text)
