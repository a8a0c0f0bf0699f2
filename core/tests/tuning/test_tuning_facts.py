"""Facts for tuning: common ones that a model states, and facts in text of any kind that it writes."""

from pathlib import Path

import pytest

import editcore
from editcore import Session
from editcore.assets.store import AssetStore
from editcore.tuning import common, facts
from editcore.tuning.arms import arms, evenly
from editcore.tuning.common import common_cases, common_facts, common_sentences
from editcore_hooks import Tunable


@pytest.fixture
def session(llama_folder: Path, tmp_path: Path) -> Session:
    return editcore.open(llama_folder, assets=AssetStore(tmp_path))


def test_common_facts_are_whole() -> None:
    every = common_facts()
    assert len({(fact.relation, fact.subject) for fact in every}) == len(every) > 100
    for fact in every:
        assert all(template.count("{}") == 1 and template == template.strip() for template in fact.templates)
        assert len(set(fact.templates)) == len(fact.templates) >= 3
        assert fact.answer == fact.answer.strip() != ""
        assert fact.answer != fact.subject


def test_common_sentences_are_about_nothing_that_the_facts_are_about() -> None:
    named = {name for fact in common_facts() for name in (fact.subject, fact.answer)}
    for sentence in common_sentences():
        assert not [name for name in named if f" {name} " in f" {sentence.rstrip('.')} "]


def test_a_model_that_states_common_facts_is_asked_for_no_others(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["Ada Marlow", "Bo Quist", "Cleo Tolland", "Dan Marlow"]
    lives = session.generate([f"{name} lives in" for name in names], 1)
    stated = [
        common.Common(0, ("{} lives in", "{} never said"), name, said.strip())
        for name, said in zip(names, lives, strict=True)
    ]
    wrong = common.Common(0, ("{} lives in",), "Eve Quist", "Nowhere")
    monkeypatch.setattr(common, "common_facts", lambda: [*stated, wrong])
    cases = common_cases(session, 8)
    assert "Eve Quist" not in {case.request.subject for case in cases}
    for case in cases:
        assert case.request.prompt == "{} lives in"
        assert case.request.target_new != case.request.target_true
        for probe in case.locality["neighbour"]:
            assert probe.targets[0] not in (case.request.target_new, case.request.target_true)


ODD = [
    "Ada Marlow lives in . Then he left . ",
    " . . . \n . ",
    "{} {braces} are here. So it is {}. ",
    "Bo\tQuist  lives   in Rome .\nA b c d . e f g h . ",
    "\u200b\u200b. \u3000 x y z w 。 ",
    "",
    ". ".join(["Same words here again"] * 3),
]


def test_sampled_text_of_any_kind_fails_nothing(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence that ended in a blank before its full stop once gave an empty target, and tuning failed."""
    monkeypatch.setattr(facts, "texts", lambda *arguments, **named: ODD)
    monkeypatch.setattr(facts, "CONFIDENT", -1e9)  # all of them are taken for facts
    monkeypatch.setattr(facts, "DROP", -1e9)
    for case in facts.sampled_cases(session, 12):
        assert case.request.target_new.strip()
        session.encode(case.request)


def test_sampling_stops_when_there_are_enough_sentences(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = []
    written = facts.texts

    def counted(*arguments, **named):  # type: ignore[no-untyped-def]
        rounds.append(named["salt"])
        return written(*arguments, **named)

    monkeypatch.setattr(facts, "texts", counted)
    facts._sure(session, 5, facts.random.Random(0))
    assert rounds == [0]


def test_sampling_stops_when_the_time_is_used_up(session: Session) -> None:
    with session.within(-1.0):
        assert facts.texts(session, 4, 8) == [""] * 4
        assert facts.sampled_cases(session, 8) == []


@pytest.mark.parametrize("n", [1, 2, 3, 6, 9])
def test_places_are_tried_from_the_ends_inwards(n: int) -> None:
    order = list(evenly(n))
    assert sorted(order) == list(range(n))
    assert order[:2] == [0, n - 1][:n]


def test_the_defaults_and_two_recipes_everywhere_come_first() -> None:
    space = Tunable(tuple({"layer": i} for i in range(4)), ({"steps": 1}, {"steps": 2}, {"steps": 3}))
    order = arms(space)
    assert len(order) == 1 + 4 * 3
    assert order[0].settings == {}
    assert [arm.settings["steps"] for arm in order[1:9]] == [1, 2] * 4
    assert {arm.settings["steps"] for arm in order[9:]} == {3}
