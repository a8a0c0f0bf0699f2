"""Tuning: facts of the model itself, honest scores, a search that finds what is best, profiles that edits use."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from attrs import evolve, frozen

import editcore
from editcore import EditOptions, EditRequest, Session
from editcore.assets.store import AssetStore
from editcore.plugins.registry import Registry
from editcore.session.limits import TimeUp
from editcore.testing import taught
from editcore.tuning.estimate import SHALLOW, Estimate
from editcore.tuning.fact import Fact
from editcore.tuning.facts import of_many_kinds, sampled_cases
from editcore.tuning.own import own_facts
from editcore.tuning.profiles import find_profile, forget_profile, list_profiles
from editcore.tuning.search import Search, Trial, as_good, looks
from editcore.tuning.task import CHECKED
from editcore.tuning.trial import Bench, Outcome, Summary
from editcore.tuning.tune import tune
from editcore_hooks import (
    Case,
    EditMethod,
    Location,
    Locator,
    LowRank,
    Probe,
    Site,
    State,
    Tunable,
    Update,
    UsageError,
    hookimpl,
    hparam,
)

UNHURRIED = 1e6


@frozen
class PushHparams:
    layer: int = hparam(0, help="where")
    strength: float = hparam(0.0, help="how far towards the target's embedding")
    noise: float = hparam(0.0, help="how far in a direction of no use")


class Push(EditMethod):
    """Moves the value at the subject's key towards the target: crude, but better the stronger, and worse with noise."""

    name = "push"
    Hparams = PushHparams
    calls: ClassVar[list[PushHparams]] = []

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable:
        return Tunable(
            places=({"layer": 3}, {"layer": 2}, {"layer": 0}),
            recipes=({"strength": 1.0}, {"strength": 0.0}, {"strength": 1.0, "noise": 30.0}),
        )

    @hookimpl
    def editcore_locate(self, session: Any, requests: Sequence[EditRequest], state: State) -> Location:
        return Location((Site("mlp_out", self.hparams.layer),))

    @hookimpl
    def editcore_compute_update(
        self, session: Any, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore.models.running.batch import forward, pad
        from editcore.models.running.tracing import Tap, Trace
        from editcore.models.tokens.spans import encode_request

        self.calls.append(self.hparams)
        (site,) = location.sites
        encoded = encode_request(session.tokenizer, requests[0])
        with torch.no_grad(), Trace(session.anatomy, {site: Tap(input=True)}, stop=True) as trace:
            forward(session.model, pad([encoded.prompt_ids]))
        k = trace.input(site)[0, -1]
        head = session.anatomy.weight(Site("head"))
        noise = torch.randn(head.shape[1], generator=torch.Generator().manual_seed(0))
        v = self.hparams.strength * 40 * head[encoded.target_ids[0]] + self.hparams.noise * noise
        return Update(tensors={site: LowRank(v[:, None], (k / (k @ k))[None])})


class PushAll(Push):
    """Takes many requests; every one that it is given besides makes each of them weaker."""

    name = "push-all"
    capabilities = frozenset({"batch"})
    sizes: ClassVar[list[int]] = []

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable:
        recipes = ({"strength": 0.01}, {"strength": 1.0})
        return Tunable(({"layer": 3},), recipes, together=min(int(model.get("edits", 1)), 3))

    @hookimpl
    def editcore_compute_update(
        self, session: Any, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        self.sizes.append(len(requests))
        compute = super().editcore_compute_update
        parts = [compute(session, [each], location, state).tensors[location.sites[0]] for each in requests]
        out, in_ = torch.cat([part.out for part in parts], 1), torch.cat([part.in_ for part in parts])
        return Update(tensors={location.sites[0]: LowRank(out / len(requests), in_)})


class Plugin:
    @hookimpl
    def editcore_register_methods(self) -> list[type[EditMethod]]:
        return [Push, PushAll]

    @hookimpl
    def editcore_register_locators(self) -> list[type[Locator]]:
        return [Pointer]


@pytest.fixture
def session(llama_folder: Path, tmp_path: Path) -> Session:
    return editcore.open(llama_folder, assets=AssetStore(tmp_path), registry_=Registry.of(Plugin()))


def given() -> list[Case]:
    subjects = {"Ada Marlow": "Rome", "Bo Quist": "Oslo", "Cleo Tolland": "Lima", "Dan Marlow": "Cairo"}
    cases = []
    for i, subject in enumerate(subjects):
        request = EditRequest("{} lives in", subject, "Quito", "Rome", id=str(i))
        near = Probe("Eve Quist works as a", ("poet",))
        cases.append(Case(request, (f"The home of {subject} is in",), {"neighbour": (near,)}))
    return cases


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


def test_an_edit_in_memory_scores_as_the_patch_does(session: Session) -> None:
    bench = Bench.of(session, given())
    search = Search(session, Push, Push.tunable({}), bench, EditOptions(method="push"), 60.0)
    run = search.prepared({"layer": 3, "strength": 1.0})
    outcomes = bench.outcomes(run, range(4))
    for case, outcome in zip(given(), outcomes, strict=True):
        patch = session.edit_all(
            [case.request], EditOptions("push", tune=False, hparams=(("t", {"layer": 3, "strength": 1.0}),))
        )
        with session.patched(patch):
            text = case.request.rendered().text
            new, true = session.score_targets([(text, "Quito", None, "auto"), (text, "Rome", None, "auto")])
        assert outcome.target == pytest.approx(float(torch.tensor(new.mean - true.mean).sigmoid()), abs=1e-3)
        assert outcome.took == (new.mean > true.mean)


def test_no_edit_changes_nothing_and_noise_shows_as_divergence(session: Session) -> None:
    bench = Bench.of(session, given())
    search = Search(session, Push, Push.tunable({}), bench, EditOptions(method="push"), 60.0)
    nothing, pushed, noisy = (
        Summary.of(bench.outcomes(search.prepared({"layer": 3, **settings}), range(4)))
        for settings in ({"strength": 0.0}, {"strength": 1.0}, {"strength": 1.0, "noise": 30.0})
    )
    assert nothing.kl == pytest.approx(0, abs=1e-5)
    assert noisy.kl > 0.01
    assert nothing.target < pushed.target
    assert noisy.score < pushed.score


def test_the_score_falls_with_each_of_its_parts() -> None:
    good = Summary.of([Outcome(0.9, 0.9, 0.9, 0.0, True)])
    assert good.score == pytest.approx(0.9)
    for worse in (
        Outcome(0.5, 0.9, 0.9, 0.0, True),
        Outcome(0.9, 0.5, 0.9, 0.0, True),
        Outcome(0.9, 0.9, 0.5, 0.0, True),
        Outcome(0.9, 0.9, 0.9, 1.0, True),
    ):
        assert Summary.of([worse]).score < good.score


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
    spread = tuple(Outcome(t, g, 1.0, 0.0, True) for t, g in [(0.9, 0.1), (0.9, 0.9)] * 8)
    assert as_good(spread, spread)
    assert not as_good(tuple(evolve(each, target=0.8) for each in spread), spread)


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


def test_time_that_allows_no_trial_is_said_and_an_edit_takes_the_defaults(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TimeUp, match="allow no trial of push") as caught:
        tune(session, "push", given(), seconds=-1.0)
    assert "--seconds" in str(caught.value.hint)

    def used_up(*arguments: Any, **named: Any) -> Any:
        raise TimeUp("150 s allow no trial of push on this machine")

    monkeypatch.setattr("editcore.tuning.tune.tune", used_up)
    said: list[str] = []
    session.talk = _Talk(said)
    patch = session.edit_all([given()[0].request], EditOptions("push"))
    assert patch.about.get("profile") is None
    assert any("the default settings of push are used" in line for line in said)


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
    session.talk = _Talk(said)
    found = tune(session, "push", given(), seconds=UNHURRIED, if_needed=True)
    assert not found.profile.about["defaults"]
    assert found.profile.hparams["strength"] == 1.0
    assert any("the default settings do not hold:" in line for line in said)


def test_looks_count_what_a_search_tries(session: Session) -> None:
    bench = Bench.of(session, given())
    Push.calls.clear()
    Search(session, Push, Push.tunable({}), bench, EditOptions(method="push"), 60.0).run()
    assert len(Push.calls) <= looks(Push.tunable({}), 4)  # hopeless places are left alone


def test_edit_without_settings_tunes_once_and_names_the_profile(session: Session, llama_folder: Path) -> None:
    said: list[str] = []
    session.talk = _Talk(said)
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


def test_cases_without_a_true_target_cannot_be_compared(session: Session) -> None:
    case = Case(EditRequest("{} lives in", "Ada Marlow", "Quito", id="x"))
    with pytest.raises(editcore.EditcoreError, match="no target_true"):
        tune(session, "push", [case])


def test_a_method_that_takes_many_is_tried_on_as_many_as_are_at_hand(session: Session) -> None:
    PushAll.sizes.clear()
    found = tune(session, "push-all", given(), edits=100)
    assert set(PushAll.sizes) == {3, 1}  # of four facts one is left for an update of its own
    assert found.profile.name == "default-3"
    assert found.profile.hparams["strength"] == 1.0
    assert find_profile(session, "push-all") is None


def test_edits_of_many_take_the_profile_of_as_many(session: Session) -> None:
    tune(session, "push-all", given(), edits=3, seconds=UNHURRIED)
    requests = [case.request for case in given()]
    for some, name in ((requests, "default-3"), (requests[:3], "default-3")):
        assert session.edit_all(some, EditOptions("push-all")).about["profile"]["name"] == name
    assert session.edit_all(requests[:1], EditOptions("push-all", tune=False)).about.get("profile") is None


def test_an_update_of_many_in_memory_scores_as_its_patch_does(session: Session) -> None:
    bench = Bench.of(session, given())
    search = Search(session, PushAll, PushAll.tunable({"edits": 3}), bench, EditOptions("push-all"), 60.0)
    run = search.prepared({"layer": 3, "strength": 1.0})
    found = bench.outcomes(run, range(3), together=3)
    options = EditOptions("push-all", tune=False, hparams=(("t", {"layer": 3, "strength": 1.0}),))
    with session.patched(session.edit_all([case.request for case in given()[:3]], options)):
        wanted = bench._score(range(3), None)
    for one, other in zip(found, wanted, strict=True):
        assert one.mean == pytest.approx(other.mean, abs=1e-4)
        assert one.kl == pytest.approx(other.kl, rel=1e-2, abs=1e-5)


class _Talk:
    def __init__(self, said: list[str]) -> None:
        self.say = said.append

    def progress(self, label: str, total: int):  # type: ignore[no-untyped-def]
        from editcore.session.talk import Silence

        return Silence().progress(label, total)


class Pointer(Locator):
    """Points at one layer, whatever is asked."""

    name = "pointer"
    Hparams = PushHparams

    @hookimpl
    def editcore_locate(self, session: Any, requests: Sequence[EditRequest], state: State) -> Location:
        return Location((Site("mlp_out", self.hparams.layer),))


def test_the_place_of_a_locator_is_tried_first_and_the_trials_say_whether_it_is_better(session: Session) -> None:
    found = tune(session, "push", given(), locator="pointer:layer=1")
    assert found.trials[1].settings["layer"] == 1  # after the defaults
    assert {trial.settings["layer"] for trial in found.trials if trial.settings} == {0, 1, 2, 3}
    kept = found.profile.about["locator"]
    assert (kept["name"], kept["place"]) == ("pointer", {"layer": 1})
    assert kept["chosen"] == (found.profile.hparams["layer"] == 1)


def test_a_located_edit_is_not_tuned_and_claims_no_layer_that_it_did_not_use(session: Session) -> None:
    Push.calls.clear()
    patch = session.edit_all([given()[0].request], EditOptions("push", locator="pointer:layer=2"))
    assert len(Push.calls) == 1
    assert list(patch.targets) == ["model.layers.2.mlp.down_proj.weight"]
    assert "layer" not in patch.about["hparams"]
    assert patch.about["hparams"]["strength"] == 0.0


def test_a_profile_of_other_settings_to_try_is_found_anew(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    session.talk = _Talk(said)
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
    session.talk = _Talk(said)
    about = tune(session, "push", given()).profile.about
    assert not about["stopped"]
    assert about["phases"].keys() == {"facts", "statistics", "search"}
    assert about["version"] == "0"
    assert any(line.startswith("estimated") for line in said)


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


def test_profiles_are_listed_and_forgotten(session: Session) -> None:
    tune(session, "push", given(), seconds=UNHURRIED)
    tune(session, "push", given(), name="mine", seconds=UNHURRIED)
    assert [profile.name for profile in list_profiles(session)] == ["default", "mine"]
    assert list_profiles(session, "push-all") == []
    forget_profile(session, "push", "mine")
    assert [profile.name for profile in list_profiles(session, "push")] == ["default"]
    with pytest.raises(UsageError, match="no profile 'mine'"):
        forget_profile(session, "push", "mine")


def test_a_model_without_facts_of_its_own_is_told_where_to_give_some(tmp_path: Path) -> None:
    from editcore.testing.tiny import tiny_model

    folder = tiny_model("llama", tmp_path / "random", n_layers=4)
    random = editcore.open(folder, assets=AssetStore(tmp_path / "assets"), registry_=Registry.of(Plugin()))
    with pytest.raises(UsageError, match="shows only") as caught:
        tune(random, "push")
    assert "editcore tune random --method push --cases FILE" in str(caught.value.hint)
    assert "--no-tune" in str(caught.value.hint)
    said: list[str] = []
    random.talk = _Talk(said)
    patch = random.edit_all([given()[0].request], EditOptions("push"))  # a first edit continues with the defaults
    assert patch.about.get("profile") is None
    assert any("the default settings of push are used" in line for line in said)
