"""Default settings that hold are kept; those that do not begin a search."""

from typing import Any

import pytest
from attrs import frozen

from core.tests.tuning.pushing import UNHURRIED, Push, Talk, given
from editcore import EditOptions, Session
from editcore.session.limits import TimeUp
from editcore.tuning.task import CHECKED, HOLDS_SCORE
from editcore.tuning.trial import shown
from editcore.tuning.tune import tune
from editcore_hooks import (
    hparam,
)


@frozen
class GoodHparams:
    layer: int = hparam(3, help="where")
    strength: float = hparam(1.0, help="how far towards the target's embedding")
    noise: float = hparam(0.0, help="how far in a direction of no use")


def test_defaults_that_hold_are_kept_without_a_search(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Push, "Hparams", GoodHparams)
    monkeypatch.setattr("editcore.tuning.task.HOLDS_SCORE", 0.3)
    Push.calls.clear()
    found = tune(session, "push", given(), seconds=UNHURRIED, if_needed=True)
    assert found.profile.about["defaults"]
    assert found.profile.hparams == {}
    assert len(Push.calls) == min(CHECKED, len(given()))


def test_defaults_that_do_not_hold_begin_a_search(session: Session) -> None:
    said: list[str] = []
    session.talk = Talk(said)
    found = tune(session, "push", given(), seconds=UNHURRIED, if_needed=True)
    assert not found.profile.about["defaults"]
    assert found.profile.hparams["strength"] == 1.0
    assert any("the default settings do not hold:" in line for line in said)
    best = found.best.summary
    assert best is not None
    (line,) = [line for line in said if line.startswith("best of ")]
    assert "strength 1.0" in line
    assert f"score {shown(best.score)} on {best.n} facts" in line
    assert any("no settings that were tried are good" in line for line in said) == (best.score < HOLDS_SCORE)


def test_time_that_allows_no_trial_is_said_and_an_edit_takes_the_defaults(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TimeUp, match="are too short for one trial of push") as caught:
        tune(session, "push", given(), seconds=-1.0)
    assert "--seconds" in str(caught.value.hint)

    def used_up(*arguments: Any, **named: Any) -> Any:
        raise TimeUp("150 s are too short for one trial of push on this machine")

    monkeypatch.setattr("editcore.tuning.tune.tune", used_up)
    said: list[str] = []
    session.talk = Talk(said)
    patch = session.edit_all([given()[0].request], EditOptions("push"))
    assert patch.about.get("profile") is None
    assert any("the default settings of push are used" in line for line in said)
