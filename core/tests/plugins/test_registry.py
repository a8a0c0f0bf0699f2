"""Classes are found by name, with the next step when they are not."""

import types

import pytest

from editcore.plugins.registry import Registry, registry
from editcore_hooks import Architecture, EditMethod, Metric, PluginError, Transform, hookimpl


class Stub(EditMethod):
    """Has no name, so nobody can register it."""

    def locate(self, session, requests, state): ...

    def compute_update(self, session, requests, location, state): ...


class Alpha(Stub):
    name = "alpha"


class Beta(Stub):
    name = "beta"


def module(name, **hooks):
    """An entry module whose hooks give these answers, or call them."""
    made = types.ModuleType(name)
    for hook, answer in hooks.items():
        setattr(made, hook, hookimpl(answering(answer)))
    return made


def answering(answer):
    return answer if answer is boom else lambda: answer


def test_a_class_is_found_under_its_kind_only():
    class Rect(Transform):
        name = "rect"

    known = Registry.of(module("one", editcore_register_methods=[Alpha], editcore_register_transforms=[Rect]))
    assert known.method("alpha") is Alpha
    assert known.transform("rect") is Rect
    assert "rect" not in known.methods
    assert known.source_of(Alpha) == ("one", "0")


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("alpa", "did you mean 'alpha'?"),
        ("rome", "pip install editcore-rome"),
        ("romee", "did you mean 'rome'?"),
        ("zzzzzz", "choose one of alpha, beta"),
    ],
)
def test_an_unknown_method_says_what_comes_next(asked, hint):
    known = Registry.of(module("one", editcore_register_methods=[Alpha, Beta]))
    with pytest.raises(PluginError) as caught:
        known.method(asked)
    assert caught.value.hint == hint


def test_a_method_offered_twice_is_refused_naming_both_and_leaves_the_others():
    class Twin(Stub):
        name = "alpha"

    known = Registry.of(
        module("one", editcore_register_methods=[Alpha, Beta]), module("two", editcore_register_methods=[Twin])
    )
    with pytest.raises(PluginError, match=r"one \(one 0\) and two \(two 0\)"):
        known.method("alpha")
    assert known.method("beta") is Beta
    assert set(known.methods.classes()) == {"beta"}


def boom():
    raise RuntimeError("no luck")


class Nameless(Stub):
    pass


class Spaced(Stub):
    name = "with space"


class Loose(Stub):
    name = "loose"
    Hparams = dict


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (boom, "no luck"),
        (None, "returned nothing"),
        (Alpha, "must return a list"),
        ([Alpha()], "not a subclass of EditMethod"),
        ([Metric], "not a subclass of EditMethod"),
        ([Nameless], "no usable name"),
        ([Spaced], "no usable name"),
        ([Loose], "not an attrs class"),
        ([Alpha, Alpha], "twice"),
    ],
)
def test_a_registration_that_breaks_the_contract_breaks_that_plugin_alone(answer, reason):
    known = Registry.of(
        module("bad", editcore_register_methods=answer), module("good", editcore_register_methods=[Beta])
    )
    assert known.method("beta") is Beta
    bad = next(record for record in known.records if record.name == "bad")
    assert bad.status == "broken"
    assert reason in bad.reason
    with pytest.raises(PluginError):
        known.method("alpha")


def test_a_plugin_found_broken_by_one_kind_offers_nothing_of_another():
    known = Registry.of(module("half", editcore_register_methods=[Alpha], editcore_register_metrics=boom))
    assert known.method("alpha") is Alpha
    assert known.metrics.names() == Registry.of().metrics.names()
    with pytest.raises(PluginError):
        known.method("alpha")


def test_an_explicit_registry_refuses_a_module_that_breaks_the_contract():
    bad = types.ModuleType("bad")
    bad.editcore_locate = hookimpl(lambda session: None)
    with pytest.raises(PluginError, match="stage"):
        Registry.of(bad)


def test_a_class_that_no_plugin_registered_has_no_source():
    with pytest.raises(PluginError, match="no plugin registered"):
        Registry.of().source_of(Alpha)


def test_the_core_registers_its_own_by_the_same_door():
    known = Registry.of()
    assert issubclass(known.architecture("gpt2"), Architecture)
    assert known.metric("pref.es@1").name == "pref.es@1"
    assert known.source_of(known.architecture("gpt2"))[0] == "editcore"
    assert [record.status for record in known.records] == ["ok"]


def test_the_process_has_one_registry():
    assert registry() is registry()
