"""Specs: what they mean, and the error for one that is invalid."""

from pathlib import Path
from typing import Any

import pytest

import editcore_demo
from editcore.cases.reading import parse_case
from editcore.plugins.hparams import from_mapping
from editcore.plugins.registry import registry
from editcore_bench.runs.prepared import prepare
from editcore_bench.spec.reading import Choice, read_spec
from editcore_bench.spec.shipped import find_spec, shipped_specs
from editcore_bench.spec.values import DatasetChoice, Pair, Protocol, Spec
from editcore_hooks import Case, EditcoreError, UsageError

LOCALITY = ("counterfact", "knowedit-counterfact", "zsre")

GOOD = """\
methods: [rome, {name: ft-l, label: short, set: {steps: 3}}]
datasets:
  - {name: demo, n: 12}
protocols:
  - single
  - batch: [2, 4]
  - sequential: [1, 12]
    gap: 3
metrics: [pref.es@1]
seeds: [0, 1]
"""


def read(text: str, folder: Path) -> Spec:
    path = folder / "mine.yaml"
    path.write_text(text)
    return read_spec(path, registry())


def test_cells_are_the_product_of_all_parts(tmp_path: Path) -> None:
    spec = read(GOOD, tmp_path)
    assert spec.protocols == (
        Protocol("single"),
        Protocol("batch", 2),
        Protocol("batch", 4),
        Protocol("sequential", 12, (1, 12), 3),
    )
    assert len(spec.cells()) == 2 * 4 * 2
    assert spec.methods[1].settings == {"steps": 3}
    assert spec.methods[1].label == "short"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("methods:", "method:", r"mine.yaml, line 1, method is not a known key \(did you mean 'methods'"),
        ("rome,", "rom,", r"line 1, methods\[0\] is invalid: there is no method 'rom' \(did you mean 'rome'"),
        ("steps: 3", "steps: many", r"line 1, methods\[1\].set.steps is invalid: .*steps"),
        ("steps: 3", "stps: 3", r"line 1, methods\[1\].set.stps is invalid"),
        ("label: short", "label: rome", r"line 1, methods\[1\] is the second 'rome'"),
        ("n: 12", "n: none", r"line 3, datasets\[0\].n must be a whole number from 1 on, not 'none'"),
        ("n: 12", "n: 3", r"line 4, protocols asks for 4 edits at once and demo has n: 3"),
        ("name: demo", "name: dmo", r"line 3, datasets\[0\].name is invalid: there is no dataset 'dmo'"),
        ("name: demo, n", "name: counterfact, n", r"line 3, datasets\[0\] does not say where the file .* --data"),
        (
            "- single",
            "- alone",
            r"line 5, protocols\[0\] must be single, \{batch: N\} or \{sequential: N\}, not 'alone'",
        ),
        ("[2, 4]", "[2, 0]", r"line 6, protocols\[1\].batch\[1\] must be a whole number from 1 on, not 0"),
        ("gap: 3", "gap: 12", r"line 8, protocols\[2\].gap must be less than the 12 edits"),
        (
            "gap: 3",
            "at_once: 5",
            r"line 8, protocols\[2\].at_once must divide every mark and the gap, and 1 it does not",
        ),
        ("[2, 4]", "[2, 4]\n    at_once: 2", r"protocols\[1\].at_once belongs to a sequential protocol"),
        ("gap: 3", "batch: 3", r"line 7, protocols\[2\] must be one of"),
        ("pref.es@1", "pref.es", r"line 9, metrics\[0\] is invalid: there is no metric"),
        ("pref.es@1", "cost.seconds@1", r"line 9, metrics\[0\] is always recorded"),
        ("[0, 1]", "0", r"line 10, seeds must be a list of whole numbers, not 0"),
        ("metrics: [pref.es@1]", "", r"mine.yaml, line 1 has no 'metrics'"),
    ],
)
def test_a_refusal_names_line_key_and_what_was_expected(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in GOOD
    with pytest.raises(UsageError, match=message):
        read(GOOD.replace(old, new), tmp_path)


def test_more_edits_at_once_than_there_are_cases_are_refused(tmp_path: Path) -> None:
    spec = read(GOOD.replace(", n: 12", "").replace("[1, 12]", "[1, 9999]"), tmp_path)
    with pytest.raises(UsageError, match=r"sequential 9999 asks for more than the \d+ cases of demo"):
        prepare(spec, registry())


def test_more_cases_than_a_file_has_are_refused(tmp_path: Path) -> None:
    spec = read(GOOD.replace("n: 12", "n: 12, start: 495"), tmp_path)
    with pytest.raises(UsageError, match="demo has 5 cases from number 495 on, and 12 are asked for"):
        prepare(spec, registry())


@pytest.mark.parametrize("name", [one.name for one in shipped_specs()])
def test_a_shipped_spec_runs_on_the_bundled_model_and_on_any_other_with_its_files(name: str, tmp_path: Path) -> None:
    path = find_spec(name)
    small = read_spec(path, registry())
    assert small.models == ("demo",)
    assert {dataset.name for dataset in small.datasets} == {"demo"}
    assert prepare(small, registry()).cases["demo"]
    if name == "demo":
        return
    if name == "survey":  # its facts are the model's own
        assert [one.path for one in read_spec(path, registry(), Choice(("some/model",))).datasets] == [None]
        return
    with pytest.raises(UsageError, match="--data"):
        read_spec(path, registry(), Choice(("some/model",)))
    names = ("zsre", "counterfact", "rippleedits", "knowedit-recent", "knowedit-zsre", "knowedit-wikibio",
             "knowedit-counterfact")  # fmt: skip
    large = read_spec(path, registry(), Choice(("some/model",), {name: f"{name}.json" for name in names}))
    assert large.models == ("some/model",)
    assert all(dataset.path == f"{dataset.name}.json" for dataset in large.datasets)


@pytest.mark.parametrize("name", [one.name for one in shipped_specs()])
def test_every_metric_of_a_shipped_spec_has_something_to_ask_of_its_datasets(name: str, tmp_path: Path) -> None:
    data = {}
    for layout, cls in registry().datasets.classes().items():
        (tmp_path / f"{layout}.json").write_text(cls.sample())
        data[layout] = str(tmp_path / f"{layout}.json")
    spec = read_spec(find_spec(name), registry(), Choice(() if name == "demo" else ("some/model",), data))
    cases = [case for one in spec.datasets for case in some_cases(one)]
    silent = [metric for metric in spec.metrics if not any(asks(registry().metric(metric)(), one) for one in cases)]
    # zsRE's question of another dataset is the only one of another task: silent unless the loader calls it so
    unrelated = any(case.locality.get("other_task") for case in cases)
    assert silent == ([] if name != "locality" or unrelated else ["loc.agree.other_task@1"])


def some_cases(dataset: DatasetChoice) -> list[Case]:
    if dataset.path is None:
        return [parse_case(row, "the demo's cases") for row in editcore_demo.cases(60)]
    cls = registry().dataset(dataset.name)
    return list(cls(from_mapping(cls.Hparams, dataset.settings)).read(Path(dataset.path)))


def asks(metric: Any, case: Case) -> bool:
    """Whether a metric has a question about a case, be it only whether a condition holds."""
    talk = metric.ask(case)
    try:
        questions = next(talk)
        while not questions:
            questions = talk.send([])
    except StopIteration:
        return False
    return True


def test_every_table_has_a_spec() -> None:
    wanted = (
        "basic batch continual demo ice-ablation ice-continual ice-main locality locate-then-edit memory portability "
    )
    wanted += "sequential survey time twelve"
    assert [one.name for one in shipped_specs()] == wanted.split()


def test_pairs_are_two_metrics_that_the_run_computes(tmp_path: Path) -> None:
    spec = read(f"{GOOD}\npairs:\n  reliability: [tf.token@1, gen1.strict@1]\n", tmp_path)
    assert spec.pairs == (Pair("reliability", "tf.token@1", "gen1.strict@1"),)
    assert spec.metrics[-2:] == ("tf.token@1", "gen1.strict@1")
    assert "pairs" not in prepare(read(GOOD, tmp_path), registry()).identity()["spec"]
    for wrong, says in (("[tf.token@1]", "two metrics"), ("[tf.token@1, nothing@1]", r"pairs\.a\[1\] is invalid")):
        with pytest.raises(UsageError, match=says):
            read(f"{GOOD}\npairs:\n  a: {wrong}\n", tmp_path)


def test_a_model_s_own_facts_are_those_that_it_gives(tmp_path: Path, llama_folder: Path) -> None:
    text = GOOD.replace("name: demo", "name: own")
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UsageError, match="run one model at a time"):
        read_spec(tmp_path / "mine.yaml", registry(), Choice(("a", "b")))
    spec = read_spec(tmp_path / "mine.yaml", registry(), Choice((str(llama_folder),)))
    with pytest.raises(UsageError, match=r"states \d common facts, and 12 are asked for"):
        prepare(spec, registry())


def test_a_file_may_be_in_another_layout_than_the_spec_names() -> None:
    choice = Choice(("some/model",), {"counterfact": "counterfact-flat:flat.json"})
    (dataset,) = read_spec(find_spec("batch"), registry(), choice).datasets
    assert (dataset.name, dataset.label, dataset.path) == ("counterfact-flat", "counterfact", "flat.json")


@pytest.mark.parametrize("layout", ["cases", "knowedit-zsre"])
def test_settings_that_another_layout_does_not_have_are_left_behind(layout: str) -> None:
    choice = Choice(("some/model",), {"zsre": f"{layout}:mine", "counterfact": "counterfact.json"})
    spec = read_spec(find_spec("basic"), registry(), choice)
    zsre = spec.datasets[0]
    assert (zsre.name, zsre.label, zsre.path, dict(zsre.settings)) == (layout, "zsre", "mine", {})
    kept = Choice(("some/model",), {name: f"counterfact-flat:{name}" for name in LOCALITY})
    settings = [dict(one.settings) for one in read_spec(find_spec("locality"), registry(), kept).datasets]
    assert settings == [{"distract": True}, {}, {}]


def test_cases_and_the_bundled_world_have_no_settings(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"datasets\[0\].set is an option of published layouts, and demo is not one"):
        read(GOOD.replace("n: 12", "n: 12, set: {distract: true}"), tmp_path)


def test_methods_and_the_number_of_cases_can_be_said_over_a_spec(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD)
    choice = Choice(methods=("short", "memit"), n=15)
    spec = read_spec(tmp_path / "mine.yaml", registry(), choice)
    assert [(one.label, dict(one.settings)) for one in spec.methods] == [("short", {"steps": 3}), ("memit", {})]
    assert [one.n for one in spec.datasets] == [15]
    with pytest.raises(EditcoreError, match=r"there is no method 'mmit' \(did you mean 'memit'"):
        read_spec(tmp_path / "mine.yaml", registry(), Choice(methods=("mmit",)))
    with pytest.raises(UsageError, match=r"asks for 12 edits at once and demo has n: 5 \(raise `n`"):
        read_spec(tmp_path / "mine.yaml", registry(), Choice(n=5))
