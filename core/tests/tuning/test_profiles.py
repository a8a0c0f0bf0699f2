"""Profiles: what edits without settings use, under their names, listed and forgotten."""

from pathlib import Path

import pytest

from core.tests.tuning.pushing import UNHURRIED, Push, Talk, given
from editcore import EditOptions, Session
from editcore.tuning.profiles import find_profile, forget_profile, list_profiles
from editcore.tuning.tune import tune
from editcore_hooks import (
    Tunable,
    UsageError,
)


def test_edit_without_settings_tunes_once_and_names_the_profile(session: Session, llama_folder: Path) -> None:
    said: list[str] = []
    session.talk = Talk(said)
    request = given()[0].request
    patch = session.edit_all([request], EditOptions("push"))
    profile = find_profile(session, "push")
    assert profile is not None
    assert patch.about["profile"] == {"name": "default", "sha256": profile.asset.sha256}
    assert {"kind": "profile", "sha256": profile.asset.sha256, "required_at": "compute"} in patch.core["assets"]
    assert any("trying the default settings of push" in line and "about" in line for line in said)
    said.clear()
    assert session.edit_all([request], EditOptions("push")).patch_id == patch.patch_id
    assert said == []


def test_settings_or_a_refusal_to_tune_need_no_profile(session: Session) -> None:
    request = given()[0].request
    for options in (EditOptions("push", tune=False), EditOptions("push", hparams=(("--set", {"strength": 0.5}),))):
        assert session.edit_all([request], options).about.get("profile") is None
    assert find_profile(session, "push") is None


def test_a_misspelt_setting_is_refused_before_anything_is_tried(session: Session) -> None:
    Push.calls.clear()
    with pytest.raises(UsageError, match="strenght"):
        session.edit_all([given()[0].request], EditOptions("push", hparams=(("--set", {"strenght": 1}),)))
    assert Push.calls == []


def test_a_profile_is_used_under_its_name_and_settings_lie_over_it(session: Session) -> None:
    tune(session, "push", given(), name="mine", seconds=UNHURRIED)
    request = given()[0].request
    patch = session.edit_all([request], EditOptions("push", profile="mine", hparams=(("--set", {"noise": 0.25}),)))
    assert patch.about["profile"]["name"] == "mine"
    assert patch.about["hparams"]["noise"] == 0.25
    with pytest.raises(UsageError, match="no profile 'other'"):
        session.edit_all([request], EditOptions("push", profile="other"))


def test_edits_of_many_take_the_profile_of_as_many(session: Session) -> None:
    tune(session, "push-all", given(), edits=3, seconds=UNHURRIED)
    requests = [case.request for case in given()]
    for some, name in ((requests, "default-3"), (requests[:3], "default-3")):
        assert session.edit_all(some, EditOptions("push-all")).about["profile"]["name"] == name
    assert session.edit_all(requests[:1], EditOptions("push-all", tune=False)).about.get("profile") is None


def test_a_located_edit_is_not_tuned_and_claims_no_layer_that_it_did_not_use(session: Session) -> None:
    Push.calls.clear()
    patch = session.edit_all([given()[0].request], EditOptions("push", locator="pointer:layer=2"))
    assert len(Push.calls) == 1
    assert list(patch.targets) == ["model.layers.2.mlp.down_proj.weight"]
    assert "layer" not in patch.about["hparams"]
    assert patch.about["hparams"]["strength"] == 0.0


def test_a_profile_of_other_settings_to_try_is_found_anew(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    session.talk = Talk(said)
    request = given()[0].request
    before = session.edit_all([request], EditOptions("push")).about["profile"]
    places = ({"layer": 3}, {"layer": 1})
    monkeypatch.setattr(Push, "tunable", classmethod(lambda cls, model: Tunable(places, ({"strength": 1.0},))))
    said.clear()
    assert session.edit_all([request], EditOptions("push", tune=False)).about["profile"] == before
    after = session.edit_all([request], EditOptions("push")).about["profile"]
    assert after["sha256"] != before["sha256"]
    assert any("new settings to try" in line for line in said)


def test_a_profile_keeps_what_was_foreseen_and_what_was_left_out(session: Session) -> None:
    said: list[str] = []
    session.talk = Talk(said)
    about = tune(session, "push", given()).profile.about
    assert not about["stopped"]
    assert about["phases"].keys() == {"facts", "statistics", "search"}
    assert about["version"] == "0"
    assert any(line.startswith("estimated") for line in said)


def test_profiles_are_listed_and_forgotten(session: Session) -> None:
    tune(session, "push", given(), seconds=UNHURRIED)
    tune(session, "push", given(), name="mine", seconds=UNHURRIED)
    assert [profile.name for profile in list_profiles(session)] == ["default", "mine"]
    assert list_profiles(session, "push-all") == []
    forget_profile(session, "push", "mine")
    assert [profile.name for profile in list_profiles(session, "push")] == ["default"]
    with pytest.raises(UsageError, match="no profile 'mine'"):
        forget_profile(session, "push", "mine")
