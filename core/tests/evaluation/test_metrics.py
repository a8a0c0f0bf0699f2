"""Metrics against hand-computed values and a deliberately wrong model; the respondent is a table of answers."""

from collections.abc import Sequence
from math import exp, log
from typing import Any

import pytest
from attrs import evolve, field, frozen

from editcore.cases.reading import LOCALITY, PORTABILITY
from editcore.evaluation.engine.dialogue import DialogueMetric, NothingAskedError, rows_of
from editcore.evaluation.engine.questions import (
    Answer,
    Answered,
    Cost,
    Drift,
    Neutral,
    Question,
    Read,
    Score,
    Scored,
    Unanswered,
    Unshifted,
    Write,
)
from editcore.evaluation.engine.row_reports import summarise
from editcore.evaluation.metrics.builtin import METRICS
from editcore.evaluation.metrics.conditions import UNMET
from editcore.evaluation.metrics.fluency import weighted_entropy
from editcore.evaluation.metrics.preference import NO_TRUE
from editcore.evaluation.reports.intervals import normal, wilson
from editcore.evaluation.reports.requirements import check, parse_requirement
from editcore.text.wording import begins, contains, words
from editcore_hooks import Case, EditRequest, Probe, Report, RequirementNotMetError, UsageError

METRIC = {metric.name: metric for metric in METRICS}


@frozen
class Table:
    """Knows (prompt, target) → log-probability; of two target tokens the first is right above -1, both above -3 …

    and, by prompt, what stands first there now and unedited, what is written, and how far the next token drifted.
    """

    logprobs: dict[tuple[str, str], float] = field(factory=dict)
    said: dict[str, tuple[int, ...]] = field(factory=dict)
    written: dict[str, str] = field(factory=dict)
    drift: dict[str, float] = field(factory=dict)
    unedited: Any = None
    each: bool = False

    def answer(self, asked: Sequence[tuple[int, Question]], keep: bool) -> list[Any]:
        return [self._answer(question) for _, question in asked]

    def _answer(self, question: Question) -> Any:
        if getattr(question, "unedited", False) and self.unedited is not None:
            return self.unedited._answer(evolve(question, unedited=False))  # type: ignore[type-var]
        match question:
            case Score(prompt, target):
                value = self.logprobs.get((prompt, target or ""), -9.0)
                return Scored((value, value), self.said.get(prompt, (0, 0)), (value > -1, value > -3))
            case Answer(prompt):
                return Answered(self.written.get(prompt, ""), stopped=False)
            case Write(prompt):
                return self.written.get(prompt, "")
            case Drift(prompt):
                return self.drift[prompt]
            case Neutral():
                return Read(nll=3.0, nll_unedited=1.0, kl=0.5)
            case Unshifted(text, skip):
                return tuple(-float(len(word)) for word in text[len(skip) :].split())
            case Cost():
                return {"seconds": 2.5, "assets_seconds": 9.0, "peak_bytes": None}


def score(metric: str, respondent: Table, cases: Sequence[Case]) -> Report:
    made = METRIC[metric]()
    return made.report(rows_of([made], cases, respondent)[0])


def case(name: str, rephrases: int = 2) -> Case:
    request = EditRequest(prompt="{} is", subject=name, target_new="new", target_true="old", id=name)
    return Case(
        request,
        tuple(f"so {name} is {i}" for i in range(rephrases)),
        {"neighbour": (Probe(f"not {name} 0", ("old",)), Probe(f"not {name} 1", ("older", "old")))},
        {"alias": (Probe(f"Mr {name} is", ("new", "the new one")),)},
    )


def table(new: dict[str, float], old: dict[str, float], older: float = -2.0) -> Table:
    logprobs = {(prompt, "new"): value for prompt, value in new.items()}
    logprobs |= {(prompt, "old"): value for prompt, value in old.items()}
    logprobs |= {(prompt, "older"): older for prompt in old}
    return Table(logprobs)


PROMPTS = ["A is", "B is", "so A is 0", "so A is 1", "so B is 0", "so B is 1"]
NEIGHBOURS = ["not A 0", "not A 1", "not B 0", "not B 1"]
EDITED = evolve(
    table(
        {**dict.fromkeys(PROMPTS, -0.5), "so B is 1": -4.0, **dict.fromkeys(NEIGHBOURS, -3.0), "not A 0": -0.1},
        dict.fromkeys(PROMPTS + NEIGHBOURS, -2.0),
    ),
    said={"not A 0": (1, 2), "not A 1": (1, 9), "not B 0": (1, 2), "not B 1": (1, 2)},
    written={
        "A is": " New, and so on",
        "B is": " brand new",
        "so A is 0": " new",
        "so A is 1": "x",
        "so B is 0": " renew",
    },
    drift={"not A 0": 0.5, "not A 1": 1.5, "not B 0": 3.0, "not B 1": 0.0},
    unedited=Table(
        {("A is", " New, and so on"): -3.0, ("A is", "new"): -2.0, ("B is", " brand new"): -1.0, ("B is", "new"): -4.0},
        said=dict.fromkeys(NEIGHBOURS, (1, 2)),
    ),
)
EDITED.logprobs.update({("Mr A is", "new"): -4.0, ("Mr A is", "the new one"): -2.0, ("Mr B is", "new"): -0.1})
EDITED.written.update({"Mr A is": " said to be the new one.", "Mr B is": " old"})
WRONG = evolve(
    table(
        dict.fromkeys(PROMPTS, -9.0) | dict.fromkeys(NEIGHBOURS, 0.0), dict.fromkeys(PROMPTS + NEIGHBOURS, -9.0), -9.0
    ),
    said=dict.fromkeys(NEIGHBOURS, (7, 8)),
    written=dict.fromkeys([*PROMPTS, "Mr A is", "Mr B is"], " no no no no no"),
    unedited=Table(said=dict.fromkeys(NEIGHBOURS, (1, 2)), written=dict.fromkeys(NEIGHBOURS, "older")),
)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("pref.es@1", 1.0),
        ("pref.ps@1", (1.0 + 0.5) / 2),
        ("pref.ns@1", (0.5 + 1.0) / 2),
        ("pref.score@1", 3 / (1 / 1 + 1 / 0.75 + 1 / 0.75)),
        ("tf.token@1", 1.0),
        ("tf.exact@1", 1.0),
        ("tf.token.rephrase@1", (1.0 + 0.5) / 2),
        ("tf.exact.rephrase@1", (1.0 + 0.5) / 2),
        ("gen.exact@2", 0.5),  # "brand new" does not begin with it
        ("gen.contains@2", 1.0),
        ("gen.exact.rephrase@2", (0.5 + 0.0) / 2),
        ("gen.contains.rephrase@2", (0.5 + 0.0) / 2),  # "renew" is another word
        ("loc.agree@1", (0.75 + 1.0) / 2),
        ("loc.agree.neighbour@1", (0.75 + 1.0) / 2),
        ("loc.correct@1", 0.5),  # -2: the second of two tokens
        ("loc.kl@1", ((0.5 + 1.5) / 2 + 3.0 / 2) / 2),
        ("port.all@1", (0.5 + 1.0) / 2),  # of two accepted answers the better
        ("port.alias@1", (0.5 + 1.0) / 2),
        ("port.gen.alias@2", 0.5),
        ("ppl_r@1", (exp(3.0 - 2.0) + exp(1.0 - 4.0)) / 2),
        # |New,| + |and| + |so| + |on| = 11 of 4; |brand| + |new| = 8 of 2; |Anew| and |Bnew| are one word of 4
        ("ppl_r.ice2024@1", (exp(11 / 4 - 4) + exp(8 / 2 - 4)) / 2),
        ("damage.ppl@1", exp(3.0 - 1.0)),
        ("damage.kl@1", 0.5),
        ("cost.seconds@1", 2.5),
    ],
)
def test_metric_equals_the_value_by_hand(metric: str, value: float) -> None:
    report = score(metric, EDITED, [case("A"), case("B")])
    assert report.value == pytest.approx(value)
    assert report.n == (10 if metric.startswith("damage") else 2)
    assert report.low <= report.value <= report.high


SHARES = [name for name, metric in METRIC.items() if metric.share]


@pytest.mark.parametrize("metric", SHARES)
def test_a_wrong_model_scores_nothing(metric: str) -> None:
    try:
        assert score(metric, WRONG, [case("A"), case("B")]).value == 0.0
    except NothingAskedError:
        # these cases have neighbours and aliases
        assert metric.rpartition(".")[2].partition("@")[0] in {*LOCALITY[1:], *PORTABILITY[1:]}


@frozen
class Harmed(Table):
    """A model whose edit did harm: to what it writes, to neutral text, and at a price."""

    def _answer(self, question: Question) -> Any:
        match question:
            case Neutral():
                return Read(nll=9.0, nll_unedited=1.0, kl=6.0)
            case Cost():
                return {"seconds": 60.0, "assets_seconds": 0.0, "peak_bytes": 1 << 34}
        return Table._answer(self, question)


HARMED = Harmed(
    written={"A is": " no no no no no", "B is": " no no no no no"},
    drift=dict.fromkeys(NEIGHBOURS, 8.0),
    unedited=Table({("A is", " no no no no no"): -9.0, ("A is", "new"): -2.0, ("B is", " no no no no no"): -9.0}),
)
SOUND = evolve(EDITED, written={"A is": " one of a kind, they say", "B is": " one more such, it is said"})
SOUND.unedited.logprobs.update(
    {("A is", " one of a kind, they say"): -1.0, ("B is", " one more such, it is said"): -1.0}
)


@pytest.mark.parametrize("metric", ["damage.ppl@1", "damage.kl@1", "cost.seconds@1", "loc.kl@1", "ppl_r@1"])
def test_a_wrong_model_scores_higher_where_lower_is_better(metric: str) -> None:
    cases = [case("A"), case("B")]
    if metric == "ppl_r@1":
        cases = cases[:1]
    assert score(metric, HARMED, cases).value > 2 * score(metric, SOUND, cases).value


def test_a_model_that_repeats_one_word_is_least_fluent() -> None:
    cases = [case("A"), case("B")]
    assert score("fluency.ngram@2", HARMED, cases).value < score("fluency.ngram@2", SOUND, cases).value


def test_the_peak_of_memory_is_that_of_the_patch() -> None:
    report = score("cost.peak_bytes@1", HARMED, [case("A"), case("B")])
    assert (report.value, report.n) == (1 << 34, 2)
    assert report.rows[0]["seconds"] == 60.0


def test_the_released_ratio_depends_on_the_text_that_is_written() -> None:
    # |no|, five times, and |Anew|: the figure falls as words get longer, whatever the model thought of them
    report = score("ppl_r.ice2024@1", HARMED, [case("A")])
    assert report.value == pytest.approx(exp(2 - 4))


def test_cases_count_alike_however_many_prompts_they_have() -> None:
    report = score("pref.ps@1", EDITED, [case("A", 1), case("B", 2)])
    assert report.value == pytest.approx((1.0 + 0.5) / 2)


def test_a_metric_that_no_case_can_answer_is_refused() -> None:
    with pytest.raises(UsageError, match=r"pref\.ps@1"):
        score("pref.ps@1", EDITED, [case("A", 0)])


@pytest.mark.parametrize("metric", ["pref.es@1", "pref.ps@1"])
def test_a_case_without_a_true_target_does_not_count_for_preference(metric: str) -> None:
    bare = evolve(case("B"), request=EditRequest(prompt="{} is", subject="B", target_new="new", id="B"))
    report = score(metric, EDITED, [case("A"), bare])
    assert (report.value, report.n) == (1.0, 1)
    assert {row["why"] for row in report.rows if row["case"] == "B"} == {NO_TRUE}
    with pytest.raises(NothingAskedError) as caught:
        score(metric, EDITED, [bare])
    assert "--target-true" in str(caught.value.hint)


TOO_LONG = Unanswered("the prompt is 9 tokens, and the model reads 8")
ASKING = [name for name in METRIC if not name.startswith("cost.")]


@pytest.mark.parametrize("metric", ASKING)
def test_what_the_model_cannot_be_asked_does_not_count_and_the_row_says_why(metric: str) -> None:
    facets = {facet: (Probe("P", ("old",)), Probe("Q", ("old",))) for facet in LOCALITY}
    follow = {
        facet: (Probe("P", ("new",), conditions=(Probe("C", ("c",)),)), Probe("Q", ("new",))) for facet in PORTABILITY
    }
    asked = evolve(case("A"), locality=facets, portability=follow)
    made = METRIC[metric]()

    @frozen
    class Short(Table):
        def _answer(self, question: Question) -> Any:
            return TOO_LONG

    rows = rows_of([made], [asked], Short())[0]
    assert rows
    assert {row["value"] for row in rows} == {None}
    assert {row["why"] for row in rows} <= {TOO_LONG.why, UNMET}
    with pytest.raises(NothingAskedError) as caught:
        made.report(rows)
    assert TOO_LONG.why in str(caught.value.hint)


@pytest.mark.parametrize(
    "facet", ["neighbour", "other_attribution", "distract_neighbour", "other_task", "forgetfulness"]
)
def test_every_facet_of_locality_asks_its_own_probes(facet: str) -> None:
    asked = evolve(case("A"), locality={facet: (Probe("P", ("old",)),), "neighbour": (Probe("P", ("old",)),)})
    model = Table({("P", "old"): 0.0}, said={"P": (1, 1)}, drift={"P": 1.0}, unedited=Table(said={"P": (1, 2)}))
    for metric, value in (("agree", 0.5), ("correct", 1.0), ("kl", 1.0)):
        report = score(f"loc.{metric}.{facet}@1", model, [asked])
        assert (report.value, {row["about"] for row in report.rows}) == (value, {facet})
        assert len(score(f"loc.{metric}@1", model, [asked]).rows) == len(asked.locality)


@pytest.mark.parametrize("facet", PORTABILITY)
def test_portability_counts_only_what_the_unedited_model_can_answer(facet: str) -> None:
    known = Probe("K", ("yes",), conditions=(Probe("C", ("land", "the land")),))
    unknown = Probe("U", ("yes",), conditions=(Probe("C", ("land",)), Probe("D", ("sea",), also=(("lake",),))))
    asked = evolve(case("A"), portability={facet: (known, unknown)})
    model = Table({("K", "yes"): 0.0}, written={"K": "yes"}, unedited=Table(written={"C": "The Land.", "D": "a sea"}))
    for metric in (f"port.{facet}@1", f"port.gen.{facet}@2"):
        report = score(metric, model, [asked])
        assert report.value == 1.0
        assert [row["value"] for row in report.rows] == [1.0, None]
        assert "condition" in report.rows[1]["why"]
    assert (
        score(f"port.{facet}@1", model, [evolve(asked, portability={facet: (evolve(unknown, conditions=()),)})]).value
        == 0
    )


def test_correctness_counts_only_what_rests_on_what_the_unedited_model_can_answer() -> None:
    known, unknown = (Probe(text, ("yes",), conditions=(Probe(text.lower(), ("land",)),)) for text in "KU")
    asked = evolve(case("A"), locality={"other_attribution": (known, unknown)})
    model = Table(written={"k": "land", "u": "land"}, unedited=Table({("K", "yes"): 0.0}, written={"k": "Land."}))
    report = score("loc.correct@1", evolve(model, logprobs={("K", "yes"): 0.0}), [asked])
    assert [(row["value"], row.get("why")) for row in report.rows] == [(1.0, None), (None, UNMET)]
    assert score("loc.correct@1", model, [asked]).value == 0
    assert len(score("loc.agree@1", model, [asked]).rows) == 2


def test_a_full_answer_names_every_further_one() -> None:
    probe = Probe("K", ("Ann",), also=(("Bo", "Bob"), ("Cy",)))
    asked = evolve(case("A"), portability={"alias": (probe,)})
    assert score("port.gen.alias@2", Table(written={"K": "Ann, Bob and Cy"}), [asked]).value == 1
    assert score("port.gen.alias@2", Table(written={"K": "Ann and Cy"}), [asked]).value == 0


@pytest.mark.parametrize(("rule", "value"), [("all", 0.0), ("any", 1.0)])
def test_probes_of_a_group_are_one_test(rule: Any, value: float) -> None:
    probes = tuple(Probe(text, ("yes",), group="1", rule=rule) for text in ("K", "L"))
    asked = evolve(case("A"), portability={"alias": probes})
    report = score("port.alias@1", Table({("K", "yes"): 0.0}), [asked])
    assert report.value == value
    assert [row["value"] for row in report.rows] == [1.0, 0.0]


def test_every_fact_of_a_case_is_asked() -> None:
    other = EditRequest(prompt="{} has", subject="A", target_new="newer", target_true="old")
    report = score("tf.exact@1", EDITED, [evolve(case("A"), together=(other,))])
    assert [(row["prompt"], row["target"], row["value"]) for row in report.rows] == [
        ("A is", "new", 1.0),
        ("A has", "newer", 0.0),
    ]


def test_another_name_of_the_new_target_counts_where_it_is_written() -> None:
    other = EditRequest(prompt="{} has", subject="A", target_new="newer")
    asked = evolve(case("A"), accepted=("Brand-New",), together=(other,))
    model = Table(written={"A is": " brand new", "A has": " brand new", "so A is 0": "a brand new one"})
    for metric, values in {
        "gen.exact@2": [1.0, 0.0],  # the other names are those of the first fact
        "gen.contains@2": [1.0, 0.0],
        "gen.exact.rephrase@2": [0.0, 0.0],
        "gen.contains.rephrase@2": [1.0, 0.0],
    }.items():
        assert [row["value"] for row in score(metric, model, [asked]).rows] == values
    assert score("gen.exact@2", model, [case("A")]).value == 0


def test_entropy_of_words_by_hand() -> None:
    assert weighted_entropy([str(i) for i in range(100)]) == pytest.approx(
        (2 / 3 * log(99, 2) + 4 / 3 * log(98, 2)) / 2
    )
    assert 100 * weighted_entropy([str(i) for i in range(100)]) == pytest.approx(662, abs=0.5)
    assert 100 * weighted_entropy(["a", "b"] * 50) == pytest.approx(100, abs=0.1)
    assert weighted_entropy(["a"]) == 0


def test_fluency_is_of_the_prompt_and_what_is_written_after_it() -> None:
    report = score("fluency.ngram@2", Table(written={"A is": " a b c."}), [case("A")])
    assert report.value == pytest.approx(100 * (2 / 3 * log(5, 2) + 4 / 3 * log(4, 2)) / 2)  # A is a b c .
    asked = evolve(case("A"), generation=("My", "Your"))
    assert [row["prompt"] for row in score("fluency.ngram@2", Table(), [asked]).rows] == ["My", "Your"]


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("राम घर जाता है और", ["राम", "घर", "जाता", "है", "और"]),
        ("Don't stop, 3.5!\n\nOk", ["Don't", "stop", ",", "3.5", "!", "Ok"]),
        ("عَرَبِيّ كتاب", ["عَرَبِيّ", "كتاب"]),
        ("ดูดี", ["ดู", "ดี"]),
        ("東京です", ["東", "京", "で", "す"]),
    ],
)
def test_fluency_counts_the_words_of_every_script(text: str, units: list[str]) -> None:
    assert words(text) == units


def test_a_model_that_repeats_itself_is_less_fluent() -> None:
    fluent, broken = Table(written={"A is": " one of a kind, they say"}), Table(written={"A is": " no no no no no no"})
    assert score("fluency.ngram@2", fluent, [case("A")]).value > score("fluency.ngram@2", broken, [case("A")]).value


def test_what_was_written_is_read_as_it_was_written() -> None:
    made, asked = METRIC["ppl_r@1"](), case("A")
    talk = made.ask(asked)
    next(talk)
    above, below = talk.send([". It is old"])
    assert (above.target, above.target_prefix) == (". It is old", "none")
    assert (below.target, below.target_prefix) == ("new", "auto")
    assert above.unedited
    assert below.unedited


def test_silence_has_no_perplexity() -> None:
    silent = evolve(EDITED, written={"A is": " brand new"})
    report = score("ppl_r@1", silent, [case("A"), case("B")])
    assert report.n == 1
    assert report.rows[1]["why"] == "the model wrote nothing"


def test_what_no_patch_cost_is_not_counted() -> None:
    with pytest.raises(NothingAskedError, match="not measured"):
        score("cost.peak_bytes@1", EDITED, [case("A")])


def test_a_figure_of_the_model_belongs_to_a_case_where_each_has_a_model() -> None:
    one = score("damage.kl@1", EDITED, [case("A"), case("B")])
    assert (one.n, {row["case"] for row in one.rows}) == (10, {None})
    each = score("damage.kl@1", evolve(EDITED, each=True), [case("A"), case("B")])
    assert (each.n, {row["case"] for row in each.rows}) == (2, {"A", "B"})


@pytest.mark.parametrize("metric", ["pref.score@1", "tf.token@1", "port.alias@1", "loc.kl@1"])
def test_rows_of_several_runs_give_the_report_of_all(metric: str) -> None:
    whole = score(metric, EDITED, [case("A"), case("B")])
    parts = [row for name in "AB" for row in score(metric, EDITED, [case(name)]).rows]
    assert summarise(metric, parts) == whole
    assert {"case", "about", "prompt", "target", "value"} <= parts[0].keys()


def test_a_question_of_many_metrics_is_a_question_of_each() -> None:
    metrics: list[DialogueMetric] = [METRIC[name]() for name in ("tf.token@1", "tf.exact@1", "pref.es@1")]
    together = rows_of(metrics, [case("A"), case("B")], EDITED)
    assert together == [rows_of([metric], [case("A"), case("B")], EDITED)[0] for metric in metrics]


@pytest.mark.parametrize(
    ("text", "answer", "first", "anywhere"),
    [
        (" St. Louis, and", "St Louis", True, True),
        ("the Paris of", "paris", False, True),
        ("Parisian", "Paris", False, False),
        ("in 19130", "1913", False, False),
        ("パリです", "パリ", True, True),
        ("“Ångström”", "Ångström", True, True),
        ("", "x", False, False),
        (" C, and so on", "C++", False, False),
        (" C++ and so on", "C", False, False),
        (" C++, and so on", "c++", True, True),
        ("in C#.", "C#", False, True),
        ("F#", "F", False, False),
        ("1+1", "1", True, True),
        ("Paris's mayor", "Paris", True, True),
        ("❤️ Paris!", "Paris", True, True),
        ("यह रूम है", "राम", False, False),  # a vowel sign makes another word
        ("रामपुर में", "राम", False, False),
        ("सीता और राम, घर", "राम", False, True),
        ("عمانيون", "عمان", False, False),
        ("عمان بلد", "عمان", True, True),
        ("שלומית", "שלום", False, False),
        ("שלום!", "שלום", True, True),
        ("ดู", "ดี", False, False),
        ("ดีมาก", "ดี", True, True),  # Thai has no blanks: an answer is found where its characters stand
        ("ไปไทยแล้ว", "ไทย", False, True),
        ("東京は首都", "東京", True, True),
        ("iPhoneの値段", "iPhone", True, True),
        ("スーパーマン", "スーパー", False, False),
        ("서울은 수도", "서울", True, True),  # with a particle
        ("대서울", "서울", False, False),
    ],
)
def test_an_answer_is_found_by_whole_words(text: str, answer: str, first: bool, anywhere: bool) -> None:
    assert begins(text, (answer,)) is first
    assert contains(text, ("nothing", answer)) is anywhere


def test_intervals_by_hand() -> None:
    low, high = wilson(0.5, 10)
    assert (low, high) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    assert wilson(1.0, 200) == (pytest.approx(0.98115, abs=1e-5), 1.0)
    assert normal([1.0, 3.0]) == (pytest.approx(2 - 1.959964), pytest.approx(2 + 1.959964))
    assert normal([4.0]) == (4.0, 4.0)


def test_a_requirement_is_met_or_refused_by_its_figure() -> None:
    report = score("pref.ps@1", EDITED, [case("A"), case("B")])
    check([parse_requirement("pref.ps@1>=0.75")], [report])
    with pytest.raises(RequirementNotMetError, match=r"pref.ps@1>=0.8 is required, but it is 0.75"):
        check([parse_requirement("pref.ps@1 >= 0.8")], [report])


@pytest.mark.parametrize("text", ["pref.es", "pref.es@1=1", "pref.es@1>=high", ">=1"])
def test_a_requirement_must_be_metric_comparison_number(text: str) -> None:
    with pytest.raises(UsageError, match=r"pref\.es@1>=0\.9"):
        parse_requirement(text)
