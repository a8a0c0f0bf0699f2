"""One plugin's fault stays with that plugin, and is told to whoever asks for it."""

import sys

import pytest

from editcore.plugins.record import PluginRecord
from editcore.plugins.registry import Registry
from editcore_hooks import PluginError, UsageError

GOOD = """
    from editcore_hooks import EditMethod, hookimpl

    EDITCORE_API = ">=1.0,<2"

    class Good(EditMethod):
        name = "good"

        def locate(self, session, requests, state): ...

        def compute_update(self, session, requests, location, state): ...

    @hookimpl
    def editcore_register_methods():
        return [Good]
"""
METHOD_NAMED = GOOD.replace('"good"', '"{}"')


def record(registry: Registry, name: str) -> PluginRecord:
    return next(record for record in registry.records if record.name == name)


def test_a_plugin_that_fits_is_ok_and_its_method_is_found_with_its_source(install):
    install("editcore-good", GOOD, version="2.5")
    registry = Registry()
    found = record(registry, "editcore-good")
    assert (found.status, found.error, found.distribution, found.version) == ("ok", "", "editcore-good", "2.5")
    assert found.hooks == ("editcore_register_methods",)
    assert found.load_ms > 0
    assert registry.source_of(registry.method("good")) == ("editcore-good", "2.5")


def test_nothing_is_imported_until_something_is_asked(install):
    install("editcore-good", GOOD)
    registry = Registry()
    assert "editcore_good_entry" not in sys.modules
    assert "good" in registry.methods
    assert "editcore_good_entry" in sys.modules


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError"),
        (
            "from editcore_hooks import hookimpl\n@hookimpl\ndef editcore_register_method(): return []",
            "did you mean 'editcore_register_methods'?",
        ),
        ("def editcore_register_methods(): return []", "write @hookimpl above it"),
        ("def editcore_registr_methods(): return []", "write @hookimpl above it"),
        (
            "from editcore_hooks import hookimpl\n@hookimpl\ndef editcore_locate(wrong): return None",
            "wrong",
        ),
        (
            "from editcore_hooks import hookimpl\n@hookimpl\ndef editcore_compute_update(session): return None",
            "a method instance implements it",
        ),
        (
            "from editcore_hooks import hookimpl\n@hookimpl\ndef editcore_apply_patch(target, patch): return None",
            "a method instance implements it",
        ),
        (
            "from editcore_hooks import hookimpl\n@hookimpl(wrapper=True)\ndef editcore_register_methods(): yield",
            "must not wrap",
        ),
        ("EDITCORE_API = 'one'", "EDITCORE_API = 'one' is not a range of versions; write '>=1.0,<2'"),
        ("EDITCORE_API = 1", "EDITCORE_API must be a range of versions as text"),
    ],
)
def test_a_faulty_module_is_broken_and_the_rest_works(install, source, reason):
    install("editcore-bad", source)
    install("editcore-good", GOOD)
    registry = Registry()
    bad = record(registry, "editcore-bad")
    assert bad.status == "broken"
    assert reason in bad.reason
    assert record(registry, "editcore-good").status == "ok"
    assert registry.method("good").name == "good"


def test_a_helper_that_is_no_hook_and_comes_from_elsewhere_is_no_fault(install):
    install("editcore-good", GOOD + "\n    import editcore_hooks\n    import editcore_hooks as editcore_contract\n")
    assert record(Registry(), "editcore-good").status == "ok"


def test_the_saved_traceback_comes_with_the_error_of_who_asks_by_name(install):
    install("editcore-rome", "1 / 0", name="rome")
    registry = Registry()
    assert record(registry, "rome").status == "broken"
    with pytest.raises(PluginError, match="ZeroDivisionError") as caught:
        registry.method("rome")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "editcore_rome_entry.py" in caught.value.__notes__[0]
    assert caught.value.exit_code == 4


def test_a_plugin_of_another_contract_is_incompatible_not_broken(install):
    install("editcore-old", GOOD.replace(">=1.0,<2", ">=0.1,<1"), name="good")
    registry = Registry()
    assert record(registry, "good").status == "incompatible"
    assert "this is 1.1: pip install --upgrade editcore-old" in record(registry, "good").reason
    with pytest.raises(PluginError, match=r"is incompatible: written for API >=0\.1,<1"):
        registry.method("good")


def test_without_a_range_a_plugin_is_taken_as_compatible(install):
    install("editcore-plain", GOOD.replace('EDITCORE_API = ">=1.0,<2"', ""))
    assert record(Registry(), "editcore-plain").status == "ok"


def test_two_plugins_of_one_name_are_both_refused_naming_both_distributions(install):
    install("dist-a", METHOD_NAMED.format("a"), name="same")
    install("dist-b", METHOD_NAMED.format("b"), name="same", version="2.0")
    registry = Registry()
    twins = [found for found in registry.records if found.name == "same"]
    assert [twin.status for twin in twins] == ["broken", "broken"]
    assert all("dist-a 1.0 and dist-b 2.0" in twin.reason for twin in twins)
    assert not {"dist_a_entry", "dist_b_entry"} & sys.modules.keys()


def test_one_of_two_plugins_of_one_name_can_be_left_out(install, monkeypatch):
    install("dist-a", METHOD_NAMED.format("a"), name="same")
    install("dist-b", METHOD_NAMED.format("b"), name="same")
    monkeypatch.setenv("EDITCORE_PLUGINS", "-dist_B")
    registry = Registry()
    assert "a" in registry.methods
    assert "b" not in registry.methods


def test_no_plugin_can_take_the_place_of_the_built_in(install):
    install("dist-thief", GOOD, name="editcore")
    registry = Registry()
    own, thief = [found for found in registry.records if found.name == "editcore"]
    assert (own.distribution, own.status) == ("editcore", "ok")
    assert (thief.distribution, thief.status) == ("dist-thief", "broken")


@pytest.mark.parametrize(
    ("setting", "loaded"),
    [
        ("", set()),
        ("first", {"first"}),
        ("Dist_First, second", {"first", "second"}),
        ("-first", {"second", "third"}),
        ("-dist-first,-second", {"third"}),
        ("editcore", set()),
    ],
)
def test_the_environment_chooses_plugins_by_either_name(install, monkeypatch, setting, loaded):
    for name in ("first", "second", "third"):
        install(f"dist-{name}", METHOD_NAMED.format(f"m-{name}"), name=name)
    monkeypatch.setenv("EDITCORE_PLUGINS", setting)
    registry = Registry()
    mine = {found.name: found.status for found in registry.records if found.distribution.startswith("dist-")}
    assert {name for name, status in mine.items() if status == "ok"} == loaded
    assert {name for name, status in mine.items() if status == "blocked"} == set(mine) - loaded
    assert record(registry, "editcore").status == "ok"


def test_a_blocked_plugin_says_so_when_asked_for(install, monkeypatch):
    install("dist-good", GOOD, name="good")
    monkeypatch.setenv("EDITCORE_PLUGINS", "")
    with pytest.raises(PluginError, match="is left out"):
        Registry().method("good")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("dist-good,nope", "'nope', and no such plugin is installed \\(choose one of .*editcore.*good"),
        ("-nope", "'nope'"),
        ("good,-other", "mixes"),
        ("-editcore", "cannot be left out"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(install, monkeypatch, setting, message):
    install("dist-good", GOOD, name="good")
    monkeypatch.setenv("EDITCORE_PLUGINS", setting)
    with pytest.raises(UsageError, match=message):
        _ = Registry().records
