"""The search finds what is best, within its time, and takes the gentlest of what cannot be told apart."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve

import editcore
from core.tests.tuning.pushing import UNHURRIED, Push, PushAll, given
from editcore import EditOptions, EditRequest, Session
from editcore.tuning.estimate import SHALLOW, Estimate
from editcore.tuning.profiles import find_profile
from editcore.tuning.search import Search, Trial, as_good, looks
from editcore.tuning.trial import Bench, Outcome
from editcore.tuning.tune import tune
from editcore_hooks import (
    Case,
    Location,
    State,
    Tunable,
    Update,
    hookimpl,
)


def test_the_search_finds_the_setting_that_works(session: Session) -> None:
    found = tune(session, "push", given(), seconds=UNHURRIED)
    assert found.profile.hparams["strength"] == 1.0
    assert found.profile.hparams.get("noise", 0.0) == 0.0
    assert found.best.score > max(t.score for t in found.trials if t.settings.get("strength", 0.0) == 0.0)
    assert found.profile.about["facts"] == "given"


def outcomes(kl: float, *targets: float) -> tuple[Outcome, ...]:
    return tuple(Outcome(target, target, 1.0, kl, True) for target in targets)


def test_of_settings_that_cannot_be_told_apart_the_first_place_and_there_the_gentlest_is_taken(
    session: Session,
) -> None:
    places, recipes = ({"strength": 0.0}, {"strength": 1.0}), ({"noise": 0.0}, {"noise": 0.1})
    search = Search(session, Push, Tunable(places, recipes), Bench.of(session, given()), EditOptions("push"), 60.0)
    firsts, seconds = ([i for i, arm in enumerate(search.arms) if arm.place == place] for place in (0, 1))
    search.trials = {
        firsts[0]: Trial({}, outcomes(0.02, *[0.8, 0.6, 0.7, 0.7] * 3)),  # the first place, as good
        firsts[1]: Trial({}, outcomes(0.03, *[0.9, 0.5, 0.8, 0.6] * 3)),  # the same, less gentle
        seconds[0]: Trial({}, outcomes(0.01, *[0.9, 0.5, 0.9, 0.6] * 3)),  # the best
        seconds[1]: Trial({}, outcomes(0.00, *[0.3, 0.1, 0.3, 0.1] * 3)),  # the gentlest, and worse
    }
    assert search._safest([seconds[0], firsts[0], firsts[1], seconds[1]]) == firsts[0]
    assert search._safest([seconds[0], seconds[1]]) == seconds[0]


def test_a_setting_that_is_worse_on_the_target_is_no_tie_however_few_facts_tell() -> None:
    best = outcomes(0.0, *[1.0, 0.1] * 2)  # 0.27 and 0.17 once counted as equal: four facts, a wide error
    assert not as_good(outcomes(0.0, *[0.4, 0.1] * 2), best)
    mixed = tuple(Outcome(t, g, 1.0, 0.0, True) for t, g in [(0.9, 0.1), (0.9, 0.9)] * 8)
    assert as_good(mixed, mixed)
    assert not as_good(tuple(evolve(each, target=0.8) for each in mixed), mixed)


class Clock:
    """Seconds that pass with every edit of `Push`, so that no test waits and none hangs on the machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, per_edit: float = 1.0) -> None:
        self.per_edit = per_edit
        Push.calls.clear()
        monkeypatch.setattr("editcore.tuning.search.time.monotonic", lambda: per_edit * len(Push.calls))


def test_a_search_that_runs_out_of_time_keeps_the_best_so_far(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    search = Search(session, Push, Push.tunable({}), Bench.of(session, given()), EditOptions("push"), 20.0)
    search.run()
    assert search.stopped
    assert len(Push.calls) <= 20 + len(given())
    assert search.best is not None
    assert search.best.settings["strength"] == 1.0
    places = {trial.settings.get("layer") for trial in search.trials.values()}
    assert {3, 0} <= places  # the first and the last before those between


def test_what_a_stopped_search_has_found_is_kept(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = Push.editcore_compute_update

    def stopped(self: Push, session: Any, requests: Sequence[EditRequest], location: Location, state: State) -> Update:
        if len(Push.calls) == 18:
            raise KeyboardInterrupt
        return compute(self, session, requests, location, state)

    Push.calls.clear()
    monkeypatch.setattr(Push, "editcore_compute_update", hookimpl(stopped))
    with pytest.raises(KeyboardInterrupt):
        tune(session, "push", given(), seconds=UNHURRIED)
    profile = find_profile(session, "push")
    assert profile is not None
    assert profile.about["interrupted"]
    assert profile.hparams["strength"] == 1.0


def test_looks_count_what_a_search_tries(session: Session) -> None:
    bench = Bench.of(session, given())
    Push.calls.clear()
    Search(session, Push, Push.tunable({}), bench, EditOptions(method="push"), 60.0).run()
    assert len(Push.calls) <= looks(Push.tunable({}), 4)  # hopeless places are left alone


def test_a_method_that_takes_many_is_tried_on_as_many_as_are_at_hand(session: Session) -> None:
    PushAll.sizes.clear()
    found = tune(session, "push-all", given(), edits=100)
    assert set(PushAll.sizes) == {3, 1}  # of four facts one is left for an update of its own
    assert found.profile.name == "default-3"
    assert found.profile.hparams["strength"] == 1.0
    assert find_profile(session, "push-all") is None


def test_the_place_of_a_locator_is_tried_first_and_the_trials_say_whether_it_is_better(session: Session) -> None:
    found = tune(session, "push", given(), locator="pointer:layer=1")
    assert found.trials[1].settings["layer"] == 1  # after the defaults
    assert {trial.settings["layer"] for trial in found.trials if trial.settings} == {0, 1, 2, 3}
    kept = found.profile.about["locator"]
    assert (kept["name"], kept["place"]) == ("pointer", {"layer": 1})
    assert kept["chosen"] == (found.profile.hparams["layer"] == 1)


def test_cases_without_a_true_target_cannot_be_compared(session: Session) -> None:
    case = Case(EditRequest("{} lives in", "Ada Marlow", "Quito", id="x"))
    with pytest.raises(editcore.EditcoreError, match="no target_true"):
        tune(session, "push", [case])


def test_statistics_get_a_part_of_the_time(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    given_seconds = []
    kept = classmethod(lambda cls, session, hparams: given_seconds.append(session.seconds_left))
    monkeypatch.setattr(Push, "make_ready", kept)
    tune(session, "push", given(), seconds=UNHURRIED)
    assert 0 < given_seconds[0] <= UNHURRIED / 2
    assert session.seconds_left == math.inf


def test_the_time_foreseen_is_cut_where_the_time_that_is_given_is_less() -> None:
    estimate = Estimate(facts=20.0, statistics=30.0, check=10.0, search=200.0)
    assert estimate.whole(1000.0) == 250.0
    assert estimate.whole(90.0) == 90.0
    assert estimate.checking() == pytest.approx(10.0 + 30.0 * SHALLOW)
