"""A metric says what cases it needs, whether it is usual, and which side is good."""

import pytest

from editcore.evaluation.engine.dialogue import DialogueMetric
from editcore.evaluation.metrics.builtin import METRICS
from editcore.evaluation.metrics.usual import named_metrics, usual_metrics
from editcore.plugins.registry import Registry
from editcore_hooks import Case, EditRequest, Metric, Need, Probe, hookimpl

PLAIN = Case(EditRequest("{} is in", "The tower", "Rome", id="1"))
TRUE = Case(EditRequest("{} is in", "The tower", "Rome", "Paris", id="2"))
REPHRASED = Case(TRUE.request, rephrases=("Where is the tower?",))
UNANSWERED = Case(PLAIN.request, locality={"neighbour": (Probe("The bridge is in"),)})
NEAR = Case(PLAIN.request, locality={"neighbour": (Probe("The bridge is in", ("Paris",)),)})
FAR = Case(PLAIN.request, portability={"one_hop": (Probe("The tower's country is", ("Italy",)),)})
ALWAYS = ["tf.token@1", "tf.exact@1", "gen.contains@2"]


@pytest.mark.parametrize(
    ("cases", "more"),
    [
        ([PLAIN], []),
        ([TRUE], ["pref.es@1"]),
        ([REPHRASED], ["pref.es@1", "pref.ps@1"]),
        ([TRUE, Case(PLAIN.request, rephrases=("Where is the tower?",))], ["pref.es@1"]),
        ([UNANSWERED], ["loc.agree@1", "loc.kl@1"]),
        ([NEAR], ["pref.ns@1", "loc.agree@1", "loc.kl@1"]),
        ([FAR], ["port.all@1"]),
        (
            [REPHRASED, NEAR, FAR],
            ["pref.es@1", "pref.ps@1", "pref.ns@1", "pref.score@1", "loc.agree@1", "loc.kl@1", "port.all@1"],
        ),
    ],
)
def test_the_usual_metrics_are_those_that_the_cases_can_answer_in_this_order(
    cases: list[Case], more: list[str]
) -> None:
    assert usual_metrics(Registry.of(), cases) == ALWAYS + more


def test_a_metric_of_a_plugin_may_be_usual_and_says_what_the_cases_lack() -> None:
    class Own(Metric):
        name = "own@1"
        usual = True
        needs = (Need("a text to write on from", lambda case: bool(case.generation)),)

    class Plugin:
        @hookimpl
        def editcore_register_metrics(self) -> list[type[Metric]]:
            return [Own]

    known = Registry.of(Plugin())
    assert usual_metrics(known, [PLAIN]) == ALWAYS
    assert Own.lacking([PLAIN]) == ("a text to write on from",)
    assert usual_metrics(known, [Case(PLAIN.request, generation=("The tower",))]) == [*ALWAYS, "own@1"]


def test_every_metric_says_which_side_is_good() -> None:
    by_side: dict[str, set[str]] = {}
    for metric in METRICS:
        by_side.setdefault(metric.better, set()).add(metric.name)
    assert by_side["near 1"] == {"damage.ppl@1"}
    over = {metric.name for metric in METRICS if metric.name.startswith("gen1.over")}
    assert by_side["neither"] == {"fluency.ngram@2", "ppl_r@1", "ppl_r.ice2024@1"} | over
    divergences = {metric.name for metric in METRICS if metric.name.startswith("loc.kl")}
    old = {metric.name for metric in METRICS if metric.name.startswith("gen1.old_contains")}
    assert by_side["lower"] == {"damage.kl@1", "cost.seconds@1", "cost.peak_bytes@1"} | divergences | old
    assert {metric.better for metric in METRICS if metric.share and metric.name not in old} == {"higher"}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_has_nothing_to_ask_about_a_case_that_meets_none_of_its_needs(metric: type[DialogueMetric]) -> None:
    for case in (PLAIN, TRUE, REPHRASED, UNANSWERED, NEAR, FAR):
        if metric.needs and not any(need.met(case) for need in metric.needs):
            assert list(next(metric().ask(case))) == []


def test_the_name_of_the_protocol_stands_for_its_metrics_that_the_cases_can_answer() -> None:
    found = named_metrics(Registry.of(), [TRUE], ["tf.exact@1", "gen-1", "gen1.em.qa@1", "gen1.em@1"])
    assert found == [
        "tf.exact@1",
        *(f"gen1.{name}@1" for name in ("em", "contains", "old_contains", "strict", "stop", "over", "check")),
        *(f"gen1.check.{cell}@1" for cell in ("true_new", "false_new", "true_old", "false_old")),
        "gen1.em.qa@1",
    ]
    assert {"gen1.loc.agree@1", "gen1.loc.near@1"} <= set(named_metrics(Registry.of(), [NEAR], ["gen-1"]))
