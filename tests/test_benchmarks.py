"""What the benchmarks print must mean what it says: pairing, memory, rounding."""

import json
from importlib import import_module
from pathlib import Path

import pytest
import torch

from benchmarks.machine import peak_memory, start_peak
from benchmarks.real.records import make_cases, read_facts
from benchmarks.rome import apart
from benchmarks.rome_ways import SHAPES, WAYS, floor_flops, model, moment, reordered, rows
from benchmarks.sweep import CONTEXTS, case_digest, find_row, harmonic, interval, means
from editcore_hooks import Case, EditRequest, UsageError
from editcore_keyvalue.cholesky import factor

MIB = 2**20


def test_a_case_is_drawn_with_all_that_it_asks_so_that_equal_scores_have_no_interval():
    scores = {"es": [1.0, 0.0, 1.0, 1.0], "ps": [0.5, 0.5, 1.0, 0.0], "ns": [None, 1.0, None, 0.5]}
    assert means(scores) == [0.75, 0.5, 0.75]
    assert means(scores, [0, 1, 1]) == [pytest.approx(1 / 3), 0.5, 1.0]
    many = {name: values * 10 for name, values in scores.items()}
    assert interval(many, many, resamples=50) == (0.0, 0.0)


def test_a_difference_in_one_metric_shows_in_the_harmonic_mean():
    good = {"es": [1.0] * 20, "ps": [1.0] * 20, "ns": [1.0, None] * 10}
    bad = {**good, "ps": [1.0, 0.0] * 10}
    low, high = interval(good, bad, resamples=200)
    assert harmonic(good) == 1.0
    assert 0 < low < harmonic(good) - harmonic(bad) < high


def test_rows_are_of_settings_and_contexts_and_cases_are_told_apart_by_their_order():
    row = {"settings": {"layer": 0}, "contexts": CONTEXTS}
    assert find_row([row], {"layer": 0}) is row
    assert find_row([row], {"layer": 0}, contexts=10) is None
    a, b = (Case(EditRequest("{} is", name, "x", id=name)) for name in "ab")
    assert case_digest([a, b]) != case_digest([b, a])


def test_the_peak_counts_what_was_freed_again_and_not_what_was_before():
    before = torch.ones(64 * MIB // 4)
    del before
    start = start_peak()
    assert peak_memory() - start < 16 * MIB
    passing = torch.ones(64 * MIB // 4)
    del passing
    assert 48 * MIB < peak_memory() - start < 96 * MIB


def test_both_ways_of_an_edit_give_one_delta_within_rounding():
    shape = SHAPES["tiny"]
    anatomy, edit, lower = model(shape), rows(shape), factor(moment(4 * shape.width), 1e-6)
    plain, fast, again = (
        {"lam": made.lam, "u": made.u}
        for made in (
            WAYS["plain"](anatomy, edit, lower, shape),
            WAYS["fast"](anatomy, edit, lower, shape),
            WAYS["plain"](anatomy, reordered(edit), lower, shape),
        )
    )
    assert 0 < apart(plain, fast) < 4 * shape.rounding
    assert 0 < apart(plain, again) < 4 * shape.rounding
    assert floor_flops(SHAPES["medium"]) == pytest.approx(2.67e12, rel=0.01)


def test_records_become_facts_with_a_wording_that_is_not_taught(tmp_path):
    speaks = ["{} speaks", "{} talks in", "The tongue of {} is", "{} writes in"]
    lies = ["{} lies in", "Where {} is: in", "The place of {} is", "{} is found in"]
    relations = {
        "tongue": (speaks, ["French", "Greek"], "{} grew up"),
        "city": (lies, ["Rome", "Oslo"], "Near {} is"),
    }
    rows = []
    for templates, objects, beside in relations.values():
        for i in range(40):
            subject = f"{objects[0]}ian {i}"
            record = {"case_id": len(rows), "subject": subject, "ground_truth": objects[i % 2]}
            record["prompt"] = templates[i % 4].replace("{}", subject)
            record["rephrase_prompt"] = beside.replace("{}", subject)
            rows.append({**record, "target_new": objects[(i + 1) % 2]})
    path = tmp_path / "records.json"
    path.write_text(json.dumps(rows))
    facts = read_facts(path, 60)
    assert len({fact.subject for fact in facts}) == 60
    for fact in facts:
        (templates,) = [own for own, *_ in relations.values() if fact.taught[0] in own]
        assert {*fact.taught, fact.held_out} == set(templates)
        assert fact.held_out not in fact.taught
    cases = make_cases(facts, {fact.id for fact in facts[:40]}, 10)
    known = {fact.subject for fact in facts[:40]}
    for case in cases:
        assert case["subject"] in known
        assert all(probe["target"] == case["target_true"] for probe in case["locality"]["neighbour"])
    with pytest.raises(UsageError, match="gives 80 facts, not 100"):
        read_facts(path, 100)


def test_the_spec_of_the_kept_figures_is_valid() -> None:

    from editcore.plugins.registry import registry
    from editcore_bench.spec.reading import read_spec

    root = Path(__file__).parents[1]
    spec = read_spec(root / "benchmarks/demo.yaml", registry())
    page = (root / "benchmarks/results/bench-demo.md").read_text("utf-8")
    assert all(f"| {method.label} | " in page for method in spec.methods)


def _modules() -> list[str]:
    root = Path(__file__).parents[1]
    found = [path.relative_to(root) for folder in ("benchmarks", "checks") for path in (root / folder).rglob("*.py")]
    return sorted(".".join(path.with_suffix("").parts) for path in found if path.stem not in ("__init__", "__main__"))


@pytest.mark.parametrize("module", _modules())
def test_every_benchmark_and_check_can_be_imported(module: str) -> None:
    import_module(module)
