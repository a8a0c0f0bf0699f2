"""A call runs the method chosen, the locator named and the observers, and nothing an observer does goes unseen."""

import types

import pytest
import torch

from editcore.plugins.calls import run_apply_patch, run_compute_update, run_evaluate, run_locate, stage_manager
from editcore.plugins.digest import digest
from editcore.plugins.registry import Registry
from editcore_hooks import (
    Applied,
    Dense,
    EditMethod,
    EditRequest,
    Location,
    Locator,
    Patch,
    PluginError,
    Report,
    Site,
    State,
    Update,
    UsageError,
    hookimpl,
)

SITE = Site("mlp_out", 1)
REQUESTS = [EditRequest("{} is in", "The tower", "Rome")]
STATE = State("0" * 64)


class Toy(EditMethod):
    """Implements the hooks directly, and takes those arguments that it needs."""

    name = "toy"

    @hookimpl(tryfirst=True)
    def editcore_locate(self, requests):
        return Location((SITE,))

    @hookimpl
    def editcore_compute_update(self, session, location):
        session.append("compute")
        return Update({site: Dense(torch.zeros(2, 3)) for site in location.sites}, notes={"loss": [1.0]})


class Plain(EditMethod):
    """The same in the plain form."""

    name = "plain"

    def locate(self, session, requests, state):
        return Location((SITE,))

    def compute_update(self, session, requests, location, state):
        session.append("compute")
        return Update({site: Dense(torch.zeros(2, 3)) for site in location.sites}, notes={"loss": [1.0]})


class Elsewhere(Locator):
    name = "elsewhere"

    def locate(self, session, requests, state):
        return Location((Site("attn_out", 0),))


class Undecided(Locator):
    name = "undecided"

    @hookimpl
    def editcore_locate(self, requests):
        return None


def observing(name="watcher", stage="editcore_compute_update", **options):
    """Make the wrapper a plugin module of its own."""

    def made(wrapper):
        module = types.ModuleType(name)
        setattr(module, stage, hookimpl(wrapper=True, **options)(wrapper))
        return module

    return made


def compute(registry, session=None, method=None):
    manager = stage_manager(registry, method or Toy())
    return run_compute_update(manager, [] if session is None else session, REQUESTS, Location((SITE,)), STATE)


def test_a_locator_that_is_named_comes_before_the_method_even_one_that_wants_to_be_first():
    manager = stage_manager(Registry.of(), Toy(), Elsewhere())
    assert run_locate(manager, None, REQUESTS, STATE).sites == (Site("attn_out", 0),)


def test_a_locator_that_gives_nothing_leaves_it_to_the_method():
    assert run_locate(stage_manager(Registry.of(), Toy(), Undecided()), None, REQUESTS, STATE).sites == (SITE,)


@pytest.mark.parametrize("method", [Toy, Plain])
def test_without_a_locator_the_method_says_where(method):
    assert run_locate(stage_manager(Registry.of(), method()), None, REQUESTS, STATE).sites == (SITE,)


def test_a_method_of_one_site_is_given_no_other_number():
    class One(Plain):
        name = "one"
        one_site = True

    class Two(Locator):
        name = "two"
        sites = (SITE, Site("mlp_out", 2))

        def locate(self, session, requests, state):
            return Location(self.sites)

    class Nowhere(Two):
        name = "nowhere"
        sites = ()

    assert run_locate(stage_manager(Registry.of(), One()), None, REQUESTS, STATE).sites == (SITE,)
    assert len(run_locate(stage_manager(Registry.of(), Plain(), Two()), None, REQUESTS, STATE).sites) == 2
    with pytest.raises(UsageError, match=r"^one edits one site; the locator two gave 2: decoder\.1\.mlp_out, "):
        run_locate(stage_manager(Registry.of(), One(), Two()), None, REQUESTS, STATE)
    with pytest.raises(UsageError, match=r"the locator nowhere gave none \(name a locator that gives one site"):
        run_locate(stage_manager(Registry.of(), One(), Nowhere()), None, REQUESTS, STATE)


def test_a_plain_method_and_one_of_hooks_give_the_same():
    assert digest(compute(Registry.of(), method=Plain())) == digest(compute(Registry.of()))


def test_an_observer_sees_before_and_after_and_the_update():
    seen = []

    @observing()
    def watcher(session, requests):
        session.append("before")
        update = yield
        session.append("after")
        seen.append((requests, update))
        return update

    session = []
    update = compute(Registry.of(watcher), session)
    assert session == ["before", "compute", "after"]
    assert seen == [(REQUESTS, update)]


def test_an_observer_that_is_switched_off_is_not_called():
    switched = [False]

    @observing()
    def watcher(session):
        session.append("seen")
        return (yield)

    watcher.editcore_observing = hookimpl(lambda: switched[0])
    registry = Registry.of(watcher)
    session = []
    compute(registry, session)
    switched[0] = True
    compute(registry, session)
    assert session == ["compute", "seen", "compute"]


def double(update):
    return Update({site: Dense(one.delta * 2 + 1) for site, one in update.tensors.items()}, notes=update.notes)


def flip_in_place(update):
    update.tensors[SITE].delta[0, 0] = -0.0  # equal as a number, another bit
    return update


def annotate_in_place(update):
    update.notes["loss"].append(2.0)
    return update


@pytest.mark.parametrize("change", [double, flip_in_place, annotate_in_place, lambda update: Update()])
@pytest.mark.parametrize("order", [{}, {"trylast": True}, {"tryfirst": True}])
def test_an_observer_that_changes_the_update_is_refused_by_name(change, order):
    def meddler(session):
        return change((yield))

    with pytest.raises(PluginError, match="changed the result of editcore_compute_update: meddler") as caught:
        compute(Registry.of(observing("meddler", **order)(meddler)))
    assert "EDITCORE_PLUGINS=-meddler" in str(caught.value)


def test_an_observer_that_changes_the_location_is_refused():
    @observing("mover", "editcore_locate")
    def mover():
        yield
        return Location((Site("head"),))

    with pytest.raises(PluginError, match="mover"):
        run_locate(stage_manager(Registry.of(mover), Toy()), None, REQUESTS, STATE)


def test_an_observer_that_hands_on_an_equal_copy_is_no_fault():
    @observing()
    def copier(session):
        update = yield
        return Update(dict(update.tensors), notes=dict(update.notes))

    assert compute(Registry.of(copier)).notes == {"loss": [1.0]}


def test_what_an_observer_raises_stops_the_call_and_passes_as_it_is():
    @observing("guard")
    def guard(session):
        yield
        raise UsageError("this edit is not allowed here")

    with pytest.raises(UsageError, match="not allowed here"):
        compute(Registry.of(guard))


def test_what_an_observer_raises_before_the_stage_keeps_it_from_running():
    @observing("guard", "editcore_apply_patch")
    def guard(patch):
        raise UsageError(f"refused {patch.patch_id}")
        yield

    applied = []

    class Applier:
        @hookimpl
        def editcore_apply_patch(self, patch):
            applied.append(patch)
            return Applied((patch.patch_id,))

    with pytest.raises(UsageError, match="refused 1"):
        run_apply_patch(stage_manager(Registry.of(guard), appliers=[Applier()]), None, Patch("1", {}))
    assert applied == []


def test_the_applier_that_takes_the_target_answers():
    class Never:
        @hookimpl
        def editcore_apply_patch(self, target, patch):
            return None

    class Takes:
        @hookimpl
        def editcore_apply_patch(self, target, patch):
            return Applied((patch.patch_id,))

    manager = stage_manager(Registry.of(), appliers=[Takes(), Never()])
    assert run_apply_patch(manager, None, Patch("1", {})).patch_ids == ("1",)
    with pytest.raises(PluginError, match="returned nothing instead of its Applied"):
        run_apply_patch(stage_manager(Registry.of(), appliers=[Never()]), None, Patch("1", {}))


def test_reports_of_all_that_evaluate_are_collected_and_watched():
    class One:
        @hookimpl
        def editcore_evaluate(self, metrics):
            return [Report(metric, 1.0, 1, 0.0, 1.0) for metric in metrics]

    class Two:
        @hookimpl
        def editcore_evaluate(self, metrics):
            return []

    manager = stage_manager(Registry.of(), appliers=[One(), Two()])
    assert [report.metric for report in run_evaluate(manager, None, [], ["a@1", "b@1"])] == ["a@1", "b@1"]

    @observing("flatterer", "editcore_evaluate")
    def flatterer():
        yield
        return []

    with pytest.raises(PluginError, match="flatterer"):
        run_evaluate(stage_manager(Registry.of(flatterer), appliers=[One()]), None, [], ["a@1"])


def test_no_other_method_runs():
    class Other(Toy):
        name = "other"

        @hookimpl
        def editcore_compute_update(self):
            raise AssertionError("it was not chosen")

    other = types.ModuleType("other")
    other.editcore_register_methods = hookimpl(lambda: [Other])
    assert SITE in compute(Registry.of(other)).tensors


class Misspelt(Toy):
    name = "misspelt"

    @hookimpl
    def editcore_compute_updates(self):
        return Update()


class Unmarked(Toy):
    name = "unmarked"

    def editcore_compute_update(self):
        return Update()


class Wrapping(Toy):
    name = "wrapping"

    @hookimpl(wrapper=True)
    def editcore_compute_update(self):
        return (yield)


class Applying(Toy):
    name = "applying"

    @hookimpl
    def editcore_apply_patch(self, target, patch):
        return Applied(())


class Strange(Toy):
    name = "strange"

    @hookimpl
    def editcore_compute_update(self, model):
        return Update()


class Silent(Toy):
    name = "silent"

    @hookimpl
    def editcore_compute_update(self):
        return None


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Misspelt, "did you mean 'editcore_compute_update'"),
        (Unmarked, "write @hookimpl above it"),
        (Wrapping, "must not be a wrapper"),
        (Applying, "must not implement 'editcore_apply_patch'"),
        (Strange, "does not fit its hooks"),
        (Silent, "returned nothing instead of its Update"),
    ],
)
def test_a_method_that_breaks_the_contract_is_named(method, message):
    with pytest.raises(PluginError, match=message):
        compute(Registry.of(), method=method())


def test_a_locator_may_only_locate():
    class Greedy(Elsewhere):
        @hookimpl
        def editcore_compute_update(self):
            return Update()

    with pytest.raises(PluginError, match=r"locator elsewhere.*must not implement"):
        stage_manager(Registry.of(), Toy(), Greedy())
