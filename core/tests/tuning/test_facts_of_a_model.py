"""Facts that tuning finds in the model itself."""

from pathlib import Path

import pytest

import editcore
from core.tests.tuning.pushing import Plugin, Talk, given
from editcore import EditOptions, Session
from editcore.assets.store import AssetStore
from editcore.plugins.registry import Registry
from editcore.testing import taught
from editcore.tuning.fact import Fact
from editcore.tuning.facts import of_many_kinds, sampled_cases
from editcore.tuning.own import own_facts
from editcore.tuning.tune import tune
from editcore_hooks import (
    UsageError,
)


def test_a_model_shows_facts_of_its_own_with_the_subject_marked(session: Session) -> None:
    cases = own_facts(session, 12).cases
    assert cases == own_facts(session, 12).cases
    assert 8 <= len(cases) <= 12
    people = [case.request.subject for case in cases]
    assert len(set(people)) == len(people)
    for case in cases:
        request = case.request
        assert request.target_new != request.target_true
        (scored,) = session.score_targets([(request.rendered().text, request.target_true, None, "auto")])
        assert scored.sum > -0.8  # ln ½, and what another batch leaves of it
        assert all(probe.targets[0] != request.target_new for probe in case.locality["neighbour"])
    names = {f"{given} {family}" for given in taught.GIVEN for family in taught.FAMILY}
    assert len(names & set(people)) >= len(people) / 2


def test_facts_are_taken_of_every_wording_in_turn_whatever_the_model_says_most() -> None:
    lives = [Fact((name, "lives", "in"), "Vell", 0, 1) for name in ("Ann", "Bo", "Cy")]
    ruled = [Fact((land, "is", "ruled", "from"), "Vell", 0, 1) for land in ("Ister", "Orm")]
    slip = Fact(("Ann", "has", "has"), "Vell", 0, 1)
    assert of_many_kinds([slip, *lives, *ruled]) == [lives[0], ruled[0], lives[1], ruled[1], lives[2], slip]


def test_another_seed_gives_other_facts(llama_folder: Path, tmp_path: Path, session: Session) -> None:
    other = editcore.open(llama_folder, seed=5, assets=AssetStore(tmp_path))
    assert sampled_cases(other, 12) != sampled_cases(session, 12)


def test_a_model_without_facts_of_its_own_is_told_where_to_give_some(tmp_path: Path) -> None:
    from editcore.testing.tiny import tiny_model

    folder = tiny_model("llama", tmp_path / "random", n_layers=4)
    random = editcore.open(folder, assets=AssetStore(tmp_path / "assets"), registry_=Registry.of(Plugin()))
    with pytest.raises(UsageError, match="states only") as caught:
        tune(random, "push")
    assert f"editcore tune {folder} --method push --cases FILE" in str(caught.value.hint)
    assert "--no-tune" in str(caught.value.hint)
    said: list[str] = []
    random.talk = Talk(said)
    patch = random.edit_all([given()[0].request], EditOptions("push"))  # a first edit uses the defaults
    assert patch.about.get("profile") is None
    assert any("the default settings of push are used" in line for line in said)
