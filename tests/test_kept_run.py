"""The run that is kept with the code is of the model and the cases that come with it."""

from pathlib import Path

from editcore.plugins.registry import registry
from editcore_bench.runs.folder import RunFolder
from editcore_bench.runs.prepared import prepare
from editcore_bench.spec.reading import read_spec

RUNS = Path(__file__).parents[1] / "benchmarks" / "runs"


def test_the_kept_run_is_whole_and_of_its_spec_on_the_bundled_model() -> None:
    kept = RunFolder.open(RUNS / "demo")
    prepared = prepare(read_spec(RUNS / "demo.yaml", registry()), registry())
    again = "empty benchmarks/runs/demo and: editcore bench run benchmarks/runs/demo.yaml -o benchmarks/runs/demo"
    assert kept.manifest()["identity"] == prepared.identity(), again
    assert [record.cell for record in kept.records()] == list(prepared.spec.cells())
