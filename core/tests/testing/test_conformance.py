"""Every check of the conformance suites passes honest plugins, and fails those that break its rule."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checks.zoo import datasets, metrics
from checks.zoo.animals import BREAKERS, HONEST, checks_of, given, suite
from checks.zoo.methods import Honest, PrefersTheFirst, RemembersTheFirst, Sequential
from editcore.testing.conformance import SUITES, MethodConformance
from editcore_hooks import Case, EditRequest

PAIRS = [(kind, check, cls) for kind, table in BREAKERS.items() for check, found in table.items() for cls in found]
PASSES = [(kind, check, cls) for kind, found in HONEST.items() for cls in found for check in checks_of(kind)]


@pytest.fixture
def run(tmp_path: Path):
    """Runs one check of a suite on a plugin, with the arguments that pytest would give."""

    def run_check(kind: str, check: str, cls: Any) -> None:
        made = suite(kind, cls)
        getattr(made, check)(**given(made, check, tmp_path))

    return run_check


@pytest.mark.parametrize(("kind", "check", "cls"), PASSES)
def test_an_honest_plugin_passes(kind, check, cls, run, entry_module, monkeypatch):
    if "imports_no_torch" in check:
        monkeypatch.setattr(cls, "__module__", entry_module(""))
    run(kind, check, cls)


@pytest.mark.parametrize(("kind", "check", "cls"), PAIRS)
def test_a_plugin_that_breaks_the_rule_fails_its_check(kind, check, cls, run):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        run(kind, check, cls)
    assert not isinstance(caught.value, pytest.skip.Exception)


def test_an_entry_module_that_imports_torch_fails(run, entry_module):
    method = type("Heavy", (Honest,), {"__module__": entry_module("import torch")})
    with pytest.raises(AssertionError, match="imports torch"):
        run("method", "test_the_entry_module_imports_no_torch", method)


@pytest.mark.parametrize("kind", BREAKERS)
def test_every_check_has_a_breaker(kind):
    declared = set(checks_of("declared"))
    own = set(checks_of(kind)) if kind == "method" else set(checks_of(kind)) - declared
    assert own - {"test_the_entry_module_imports_no_torch"} == set(BREAKERS[kind])


def test_every_suite_but_that_of_architectures_has_its_breakers():
    # a wrong map of a family is refused when a model is opened, by the map of its structure
    assert set(SUITES) - set(BREAKERS) == {"architecture"}


def test_a_method_of_one_request_skips_what_is_of_batches(run):
    single = type("Single", (Honest,), {"capabilities": frozenset()})
    with pytest.raises(pytest.skip.Exception, match="one request"):
        run("method", "test_the_order_of_requests_does_not_matter", single)
    run("method", "test_the_target_becomes_likelier", single)


def test_a_need_of_the_target_is_tried_with_cases_of_the_author(tmp_path):
    made = suite("metric", metrics.OfWords)
    arguments = given(made, "test_what_it_needs_is_needed", tmp_path)
    with pytest.raises(AssertionError, match="these cases have a target of letters: set `cases_without`"):
        made.test_what_it_needs_is_needed(**arguments)
    type(made).cases_without = (Case(EditRequest("{} is as old as", "Ada Marlow", "42")),)
    made.test_what_it_needs_is_needed(**arguments)


def test_a_layout_that_is_neither_json_nor_a_table_says_how_to_try_it(tmp_path):
    prose = type("Prose", (datasets.Lines,), {"sample": classmethod(lambda cls: "Ada Marlow\nworks as a\npilot\n")})
    with pytest.raises(pytest.skip.Exception, match=r"override `without\(key\)`"):
        suite("dataset", prose).test_a_record_without_a_key_is_refused(tmp_path)


def test_the_order_check_names_the_part_that_differs_and_what_to_do(run):
    with pytest.raises(AssertionError, match=r"payload/bias differs by .* sort the entries"):
        run("method", "test_the_order_of_requests_does_not_matter", RemembersTheFirst)
    with pytest.raises(AssertionError, match=r"down_proj\.weight differs by \d.* of its norm"):
        run("method", "test_the_order_of_requests_does_not_matter", PrefersTheFirst)


def test_an_honest_sequential_method_passes(run):
    run("method", "test_sequential_means_increments_that_are_read_and_go", Sequential)


def test_an_opt_out_names_a_check_and_a_reason():
    with pytest.raises(TypeError, match="is not a check"):
        type("A", (MethodConformance,), {"not_applicable": {"the_tea_is_hot": "it is coffee"}})
    with pytest.raises(TypeError, match="no reason"):
        type("B", (MethodConformance,), {"not_applicable": {"the_target_becomes_likelier": " "}})


@pytest.fixture
def entry_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes an importable module and returns its name."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def write(source: str) -> str:
        (tmp_path / "site").mkdir(exist_ok=True)
        (tmp_path / "site" / "toy_entry.py").write_text(source)
        return "toy_entry"

    yield write
    sys.modules.pop("toy_entry", None)
