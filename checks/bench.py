"""The tables of every spec that ships, on the bundled model and few cases; and one of them run twice, for equal rows.

They show that each spec runs; the pages of `benchmarks/results` have the figures of more cases. Methods that need a
training are left out; `benchmarks/results/twelve.md` has their rows.
"""

import tempfile
from pathlib import Path
from typing import Final

from editcore.plugins.abilities import Abilities
from editcore.plugins.registry import registry
from editcore.session.talk import Silence
from editcore_bench.compared import compare_runs
from editcore_bench.report.figures import cell_figures
from editcore_bench.report.table import terminal
from editcore_bench.runs.engines import Processes
from editcore_bench.runs.folder import RunFolder
from editcore_bench.runs.prepared import prepare
from editcore_bench.runs.run import run as run_cells
from editcore_bench.spec.reading import Choice, read_spec
from editcore_bench.spec.shipped import Shipped, shipped_specs
from editcore_bench.spec.values import BASELINE

CASES: Final = 8
"""Cases of each dataset, or as many as the spec writes at once."""
TWICE: Final = "time"
"""The spec that is run twice: the shortest."""


def run() -> list[str]:
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        for spec in shipped_specs():
            folder, refused = _run(spec, Path(place) / spec.name)
            columns, rows = terminal(cell_figures(folder))
            lines += [
                "",
                f"### {spec.name}: {spec.title}",
                "",
                f"| {' | '.join(columns)} |",
                "|---" * len(columns) + "|",
            ]
            lines += [f"| {' | '.join(row)} |" for row in rows]
            lines += ["", *(f"- {line}" for line in refused)] if refused else []
            if spec.name == TWICE:
                again = compare_runs(folder, _run(spec, Path(place) / "again")[0])
                same = "every row is the same" if again.same_rows else "THE ROWS DIFFER"
                lines += ["", f"Run twice: {same}."]
    return lines[1:]


def _run(spec: Shipped, out: Path) -> tuple[RunFolder, list[str]]:
    """The run, and what was refused, such as a batch for a method that writes one fact. Raises `RuntimeError` for any
    other failure."""
    silence = Silence()
    choice = Choice(methods=_untrained(spec), n=_enough(spec))
    prepared = prepare(read_spec(spec.path, registry(), choice), registry())
    ended = run_cells(prepared, out, Processes(2), silence.say, lambda total: silence.progress("", total))
    for label, failed in ended.failed:
        if "\neditcore_hooks.errors.UsageError: " not in failed.trace:
            raise RuntimeError(f"{spec.name}: {label}: {failed.message}\n{failed.trace}")
    return ended.folder, [f"no figures of {label}: {failed.message}" for label, failed in ended.failed]


def _enough(spec: Shipped) -> int:
    protocols = read_spec(spec.path, registry()).protocols
    return max(CASES, *(max(one.size, *one.checkpoints, 0) for one in protocols))


def _untrained(spec: Shipped) -> tuple[str, ...]:
    """The methods to run where some of the spec's need a training; empty: all of them."""
    methods = read_spec(spec.path, registry()).methods
    named = [method.name for method in methods if not method.name.startswith(BASELINE)]
    ready = [name for name in named if "training" not in Abilities.of(registry().method(name)).needs]
    return tuple(ready) if ready != named else ()
