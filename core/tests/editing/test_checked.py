"""What a method answers beyond the contract is refused, in the author's words; what it raises says where."""

import traceback
from types import ModuleType
from typing import Any

import numpy
import pytest
import torch
from attrs import evolve, frozen

import editcore
from editcore import EditOptions, EditRequest
from editcore.cli import _report
from editcore.cli.output import Output
from editcore.plugins.registry import Registry
from editcore.testing.tiny import tiny_model
from editcore_hooks import (
    Dense,
    EditMethod,
    InvalidValueError,
    Location,
    Locator,
    LowRank,
    PluginError,
    Rows,
    Site,
    Transform,
    Update,
    hookimpl,
    hparam,
)

HERE, ELSEWHERE = Site("mlp_out", 1), Site("mlp_out", 0)
D, F = 32, 48
"""Of the tiny model's down projection; asserted below."""

FAULTS: dict[str, tuple[Any, str]] = {
    "outside": (
        lambda: Update({ELSEWHERE: Dense(torch.zeros(D, F))}),
        r"update of decoder.0.mlp_out, which is outside its location: decoder.1.mlp_out",
    ),
    "turned": (
        lambda: Update({HERE: Dense(torch.zeros(F, D))}),
        rf"a Dense with delta \({F}, {D}\); the weight is \(d_out, d_in\) = \({D}, {F}\)",
    ),
    "turned factors": (
        lambda: Update({HERE: LowRank(torch.zeros(F, 1), torch.zeros(1, D))}),
        rf"a LowRank with out \({F}, 1\) and in_ \(1, {D}\)",
    ),
    "rows": (
        lambda: Update({HERE: Rows(torch.tensor([0]), torch.zeros(1, D))}),
        rf"a Rows with index \(1,\) and values \(1, {D}\)",
    ),
    "an array": (lambda: Update({HERE: Dense(numpy.zeros((D, F)))}), "a Dense with delta as a ndarray"),
    "an array of the state": (lambda: Update(state_increment={"keys": numpy.zeros(3)}), "'keys' as a ndarray"),
}


@frozen
class Hparams:
    fault: str = hparam("none", help="what to do wrong")


class Wrong(EditMethod):
    """Does what its hyper-parameter names wrong."""

    name = "wrong"
    Hparams = Hparams

    @hookimpl
    def editcore_locate(self, session, requests, state):
        if self.hparams.fault == "a list of sites":
            return Location([HERE])
        return Location((HERE,))

    @hookimpl
    def editcore_compute_update(self, session, requests, location, state):
        if self.hparams.fault == "whole numbers":
            return Update({HERE: Dense(torch.zeros(D, F, dtype=torch.int64))})
        if self.hparams.fault == "a key error":
            raise KeyError("layer")
        made = FAULTS.get(self.hparams.fault)
        return made[0]() if made else Update({HERE: Dense(torch.zeros(D, F))})


class Together(Wrong):
    """The same where many are computed in one go."""

    name = "together"

    def compute_each(self, session, requests, location, state):
        return [self.editcore_compute_update(session, [each], location, state) for each in requests]


class Astray(Transform):
    name = "astray"

    def transform(self, session, update):
        return evolve(update, tensors={**update.tensors, ELSEWHERE: Dense(torch.zeros(D, F))})


class Broken(Transform):
    name = "broken"

    def transform(self, session, update):
        raise ZeroDivisionError("division by zero")


class Lost(Locator):
    name = "lost"

    @hookimpl
    def editcore_locate(self, session, requests, state):
        raise IndexError("no such token")


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    module = ModuleType("toy")
    for kind, classes in {"methods": [Wrong, Together], "transforms": [Astray, Broken], "locators": [Lost]}.items():
        name = f"editcore_register_{kind}"
        setattr(module, name, hookimpl(lambda classes=classes: classes, specname=name))
    folder = tiny_model("llama", tmp_path_factory.mktemp("tiny"), n_layers=2)
    session = editcore.open(folder, registry_=Registry.of(module))
    assert session.anatomy.weight(HERE).shape == (D, F)
    return session


def request(target="Rome"):
    return EditRequest("{} is in", "The tower", target, id=target)


def options(fault, method="wrong", **more):
    return EditOptions(method, hparams=(("test", {"fault": fault}),), **more)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_update_that_breaks_the_contract_is_refused_naming_method_and_what_is_wrong(session, fault):
    with pytest.raises(PluginError, match=rf"^the method wrong returned .*{FAULTS[fault][1]}") as caught:
        session.edit_all([request()], options(fault))
    assert caught.value.hint
    assert "learning rate" not in str(caught.value)


def test_so_is_one_of_many_that_were_computed_together(session):
    with pytest.raises(PluginError, match=r"the method together returned an update of decoder.0.mlp_out.* outside"):
        session.edit_each([request("Rome"), request("Oslo")], options("outside", "together"), measured=False)


@pytest.mark.parametrize(
    ("fault", "stage", "said"),
    [
        ("a list of sites", "editcore_locate", "Location.sites must be a tuple of Sites, not a list"),
        ("whole numbers", "editcore_compute_update", "Dense.delta must be of a floating-point dtype, not int64"),
    ],
)
def test_a_value_that_a_method_makes_wrong_says_whose_it_is_and_in_which_stage(session, capsys, fault, stage, said):
    with pytest.raises(InvalidValueError) as caught:
        session.edit_all([request()], options(fault))
    assert caught.value.message == f"the method wrong (toy 0), in {stage}: {said}"
    assert _report(caught.value, Output()) == 4
    frames = traceback.extract_tb(caught.value.__cause__.__traceback__)
    assert any(frame.name == stage and frame.filename == __file__ for frame in frames)  # the author's own line


def test_a_transform_that_leaves_the_location_is_refused_by_name(session):
    with pytest.raises(
        PluginError, match=r"the transform astray returned an update of decoder.0.mlp_out, which is outside"
    ):
        session.edit_all([request()], options("none", transforms=("astray",)))


@pytest.mark.parametrize("model", ["gpt2"])
def test_shapes_are_canonical_where_weights_are_stored_the_other_way(session, tmp_path, model):
    other = editcore.open(tiny_model(model, tmp_path, n_layers=2), registry_=session.registry)
    shape = tuple(other.anatomy.weight(HERE).shape)
    with pytest.raises(PluginError, match=rf"the weight is \(d_out, d_in\) = \({shape[0]}, {shape[1]}\)"):
        other.edit_all([request()], options("turned"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            options("a key error"),
            "KeyError: 'layer', raised in editcore_compute_update of the method wrong (toy 0)\n",
        ),
        (
            options("none", transforms=("broken",)),
            "division by zero, raised in transform of the transform broken\n",
        ),
        (
            options("none", locator="lost"),
            "no such token, raised in editcore_locate of the locator lost (toy 0)\n",
        ),
    ],
)
def test_an_exception_of_a_plugin_says_whose_it_is_and_in_which_stage(session, capsys, given, said):
    with pytest.raises((KeyError, ZeroDivisionError, IndexError)) as caught:
        session.edit_all([request()], given)
    assert _report(caught.value, Output()) == 1
    assert said in capsys.readouterr().err


def test_so_does_one_of_many_computed_together(session):
    with pytest.raises(KeyError) as caught:
        session.edit_each([request("Rome"), request("Oslo")], options("a key error", "together"), measured=False)
    assert caught.value.__notes__ == ["raised in compute_each of the method together (toy 0)"]
