"""Where two plugins share a name, `distribution:name` tells them apart, wherever a name is written."""

from types import ModuleType
from typing import Any

import attrs
import pytest
import torch

import editcore
from editcore.evaluation.reports.requirements import check, parse_requirement
from editcore.plugins.choices import parse_choice
from editcore.plugins.registry import Registry
from editcore.plugins.transforms import make_transforms
from editcore.testing.tiny import tiny_model
from editcore_hooks import (
    Case,
    EditMethod,
    EditRequest,
    Location,
    LowRank,
    Metric,
    PatchKind,
    Payload,
    PluginError,
    Report,
    Site,
    Transform,
    Update,
    UsageError,
    hookimpl,
    hparam,
)

SITE = Site("mlp_out", 0)
REQUEST = EditRequest("{} is in", "The tower", "Rome", id="1")


@attrs.frozen
class Keep:
    keep: float = hparam(0.5, help="how much")


def plugin(distribution: str, size: float) -> ModuleType:
    """An entry module with a method, a transform, a metric and a patch kind, named as in any other made here."""

    class Nudge(EditMethod):
        name = "nudge"
        capabilities = frozenset({"sequential"})

        def locate(self, session, requests, state):
            return Location((SITE,))

        def compute_update(self, session, requests, location, state):
            rows, columns = session.anatomy.weight(SITE).shape
            factors = torch.full((rows, 1), size), torch.ones(1, columns)
            notes = {"seen": len(state.patch_ids)}
            return Update({SITE: LowRank(*factors)}, state_increment={"one": torch.ones(1)}, notes=notes)

    class Keeping(EditMethod):
        name = "keeping"

        def locate(self, session, requests, state):
            return Location(())

        def compute_update(self, session, requests, location, state):
            return Update(payload=Payload("toy.kept"))

    class Halve(Transform):
        name = "halve"
        Hparams = Keep

    class Size(Metric):
        name = "size@1"

        def score(self, session, cases):
            return Report(self.name, size, 1, size, size)

    class Kept(PatchKind):
        name = "toy.kept"
        kind = "modules" if size == 1 else "memory"

        def attach(self, session, patch):
            return size

        def detach(self, session, handle): ...

    module = ModuleType(distribution)
    offers: dict[str, list[Any]] = {"methods": [Nudge, Keeping], "transforms": [Halve], "metrics": [Size]}
    for kind, classes in {**offers, "patch_kinds": [Kept]}.items():
        name = f"editcore_register_{kind}"
        setattr(module, name, hookimpl(lambda classes=classes: classes, specname=name))
    return module


@pytest.fixture(scope="module")
def known() -> Registry:
    return Registry.of(plugin("editcore-one", 1.0), plugin("editcore-two", 2.0))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, known: Registry) -> editcore.Session:
    return editcore.open(tiny_model("llama", tmp_path_factory.mktemp("tiny"), n_layers=1), registry_=known)


def test_a_clash_says_both_and_how_to_write_each(known: Registry) -> None:
    with pytest.raises(PluginError) as caught:
        known.method("nudge")
    assert "editcore-one (editcore-one 0) and editcore-two (editcore-two 0)" in caught.value.message
    assert caught.value.hint == "write editcore-one:nudge or editcore-two:nudge"


@pytest.mark.parametrize("written", ["editcore-two:nudge", "editcore_two:nudge", "Editcore.Two:NUDGE"])
def test_distribution_and_name_find_one(known: Registry, written: str) -> None:
    assert known.source_of(known.method(written)) == ("editcore-two", "0")
    assert known.methods.written(known.method(written)) == "editcore-two:nudge"


def test_a_name_that_one_plugin_offers_is_written_alone() -> None:
    alone = Registry.of(plugin("editcore-one", 1.0))
    assert alone.methods.written(alone.method("editcore-one:nudge")) == "nudge"
    assert "nudge" in alone.methods.named()


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("editcore-one:nudg", "editcore-one offers no transform 'nudg'", "choose one of halve"),
        ("editcore-one:halv", "editcore-one offers no transform 'halv'", "did you mean 'halve'?"),
        (
            "three:halve",
            "no transform is offered by a distribution 'three'",
            "choose one of editcore-one:halve, editcore-two",
        ),
    ],
)
def test_a_name_that_is_not_there_says_what_is(known: Registry, written: str, message: str, hint: str) -> None:
    with pytest.raises(PluginError) as caught:
        known.transform(written)
    assert caught.value.message == message
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(hint)


def test_a_setting_without_a_value_is_not_taken_for_a_name() -> None:
    alone = Registry.of(plugin("editcore-one", 1.0))
    with pytest.raises(PluginError, match="'keep' is no setting of the transform 'halve'") as caught:
        make_transforms(alone, ["halve:keep"])
    assert caught.value.hint == "write halve:key=value"


@pytest.mark.parametrize(
    ("text", "name", "settings"),
    [
        ("halve", "halve", ()),
        ("halve:keep=0.4", "halve", ("keep=0.4",)),
        ("one:halve", "one:halve", ()),
        ("one:halve:keep=a:b=c, size=2", "one:halve", ("keep=a:b=c", "size=2")),
    ],
)
def test_an_option_takes_the_distribution_before_the_name(text: str, name: str, settings: tuple[str, ...]) -> None:
    choice = parse_choice(text, "transform", "--transform")
    assert (choice.name, choice.settings) == (name, settings)


@pytest.mark.parametrize("text", ["", ":", "halve:", ":halve", "one::keep=1"])
def test_an_option_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no transform"):
        parse_choice(text, "transform", "--transform")


def test_a_transform_of_one_of_them_is_made(known: Registry) -> None:
    (made,) = make_transforms(known, ["editcore-two:halve:keep=0.25"])
    assert known.source_of(type(made)) == ("editcore-two", "0")
    assert made.hparams.keep == 0.25


def test_methods_of_one_name_edit_apart_and_keep_states_apart(session: editcore.Session) -> None:
    one, two = (editcore.EditOptions(f"editcore-{which}:nudge") for which in ("one", "two"))
    with session.patched(session.edit_all([REQUEST], one, measured=False)):
        patches = [session.edit_all([REQUEST], options, measured=False) for options in (one, two)]
    assert [patch.about["method"]["distribution"] for patch in patches] == ["editcore-one", "editcore-two"]
    assert [patch.about["notes"][0]["seen"] for patch in patches] == [1, 0]


def test_metrics_of_one_name_are_reported_as_they_were_asked_for(session: editcore.Session) -> None:
    names = ["editcore-two:size@1", "editcore-one:size@1"]
    reports = session.evaluate([Case(REQUEST)], names)
    assert [(report.metric, report.value) for report in reports] == [(names[0], 2.0), (names[1], 1.0)]
    check([parse_requirement("editcore-two:size@1>=2")], reports)
    patch = session.edit_all([REQUEST], editcore.EditOptions("editcore-one:nudge"), measured=False)
    each = session.evaluate_each([Case(REQUEST)], [patch], names)
    assert [(report.metric, report.value) for report in each] == [(names[0], 2.0), (names[1], 1.0)]


def test_a_patch_is_owned_by_the_kind_of_its_own_distribution(session: editcore.Session) -> None:
    for which, kind in (("one", "modules"), ("two", "memory")):
        options = editcore.EditOptions(f"editcore-{which}:keeping")
        patch = session.edit_all([REQUEST], options, measured=False)
        assert patch.core["kind"] == kind
        with session.patched(patch):
            pass
