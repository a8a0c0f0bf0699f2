"""Every hook is documented: what it takes, what it returns, when it is called and who may wrap it."""

import inspect
import re

import pytest

from editcore_hooks import PROJECT, specs

HOOKS = {name: value for name, value in vars(specs).items() if name.startswith("editcore_")}


def test_the_hooks_are_those_of_the_contract():
    kinds = ["methods", "locators", "transforms", "metrics", "datasets", "architectures", "patch_kinds", "commands"]
    stages = ["locate", "compute_update", "apply_patch", "evaluate", "train"]
    calls = {f"editcore_register_{kind}" for kind in kinds} | {f"editcore_{stage}" for stage in stages}
    assert set(HOOKS) == calls | {"editcore_observing"}


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_marked(name):
    assert hasattr(HOOKS[name], f"{PROJECT}_spec")


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_says_what_it_takes_and_returns_when_it_is_called_and_who_wraps_it(name):
    text = inspect.getdoc(HOOKS[name]) or ""
    assert re.search(r"\bcalled\b", text, re.I), "when it is called"
    assert re.search(r"\b(wraps? it|wrapped)\b", text), "who may wrap it"
    assert re.search(r"\b(returns?|compute|add|put|score|keep)\b", text, re.I), "what it gives"
    for parameter in inspect.signature(HOOKS[name]).parameters:
        assert f"`{parameter}" in text, f"what {parameter} is"
