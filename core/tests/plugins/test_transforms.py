"""Transforms are opted into, run in the order given, and are recorded with all their settings."""

import types

import pytest
import torch
from attrs import frozen

from editcore.plugins.registry import Registry
from editcore.plugins.transforms import apply_transforms, make_transforms, transform_record
from editcore_hooks import Dense, PluginError, Site, Transform, Update, UsageError, hookimpl, hparam

SITE = Site("mlp_out", 0)


@frozen
class AddHparams:
    term: float = hparam(1.0, help="what is added")
    labels: tuple[str, ...] = hparam((), help="remarks")


class Add(Transform):
    name = "add"
    Hparams = AddHparams

    def transform(self, session, update):
        return Update({site: Dense(one.delta + self.hparams.term) for site, one in update.tensors.items()})


class Double(Transform):
    name = "double"

    def transform(self, session, update):
        return Update({site: Dense(one.delta * 2) for site, one in update.tensors.items()})


class Lost(Transform):
    name = "lost"

    def transform(self, session, update):
        return None


@pytest.fixture
def known():
    module = types.ModuleType("sums")
    module.editcore_register_transforms = hookimpl(lambda: [Add, Double, Lost])
    return Registry.of(module)


@pytest.mark.parametrize(("texts", "result"), [(["add:term=3", "double"], 8.0), (["double", "add:term=3"], 5.0)])
def test_transforms_run_in_the_order_given(known, texts, result):
    update = Update({SITE: Dense(torch.ones(1))})
    changed = apply_transforms(make_transforms(known, texts), None, update)
    assert changed.tensors[SITE].delta.item() == result
    assert update.tensors[SITE].delta.item() == 1.0


def test_the_record_holds_every_setting_with_defaults_resolved(known):
    record = transform_record(known, make_transforms(known, ["double", "add"]))
    assert record == [
        {"name": "double", "distribution": "sums", "version": "0", "hparams": {}},
        {"name": "add", "distribution": "sums", "version": "0", "hparams": {"term": 1.0, "labels": []}},
    ]


def test_a_comma_inside_a_value_parts_no_settings(known):
    (made,) = make_transforms(known, ["add:labels=[a, b],term=2"])
    assert made.hparams == AddHparams(2.0, ("a", "b"))


@pytest.mark.parametrize("text", ["", ":", "add:", ":term=1"])
def test_a_text_that_names_no_transform_is_refused(known, text):
    with pytest.raises(UsageError, match="names no transform"):
        make_transforms(known, [text])


def test_an_unknown_transform_is_refused_with_what_there_is(known):
    with pytest.raises(PluginError, match="did you mean 'double'"):
        make_transforms(known, ["duble"])


def test_a_transform_that_returns_no_update_is_refused(known):
    with pytest.raises(PluginError, match="'lost' returned a NoneType"):
        apply_transforms(make_transforms(known, ["lost"]), None, Update())
