"""Published files of CounterFact and zsRE, converted and scored on the bundled model.

Its world is another one, so it knows none of these facts: the figures show that the road is whole, and say nothing of
the methods. The files are looked for under the folder that EDITCORE_DATA names; without it nothing is run.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from checks.commands import call
from editcore.cases.reading import read_cases
from editcore.editing.prepared import EditOptions
from editcore.evaluation.metrics.usual import usual_metrics
from editcore.facade import Session, open_model
from editcore.plugins.registry import registry
from editcore_bench.datasets.layouts import LAYOUTS
from editcore_bench.datasets.stream import records
from editcore_demo import model_path
from editcore_hooks import Case, Report

FOLDER: Final = "EDITCORE_DATA"
SCORED: Final = ("counterfact", "counterfact-flat", "zsre")
METHODS: Final = ("rome", "ft-l", "ft-m")
N: Final = 20
"""Edits a method, of the first file in each layout."""


def run() -> list[str]:
    place = os.environ.get(FOLDER)
    if not place:
        return [f"Not run: {FOLDER} names no folder with the files of CounterFact and zsRE."]
    lines = ["| file | layout | cases | left out |", "|---|---|---|---|"]
    tables: list[str] = []
    seen: set[str] = set()
    session = open_model(model_path())
    with tempfile.TemporaryDirectory() as folder:
        for number, (path, layout) in enumerate(_files(Path(place))):
            converted = Path(folder) / f"{number}.jsonl"
            code, said = call(["datasets", "convert", layout, str(path), "--to", str(converted), "--json"])
            if code:
                raise RuntimeError(said)
            with converted.open(encoding="utf-8") as read:
                cases = list(read_cases(read, path.name))
            lines.append(f"| {path.name} | {layout} | {len(cases)} | {sum(1 for _ in records(path)) - len(cases)} |")
            if layout not in seen:
                seen.add(layout)
                tables += ["", f"{path.name}, the first {N}:", "", *_scored(session, cases[:N])]
    if not seen:
        raise RuntimeError(f"{FOLDER} holds no file in a layout of {', '.join(SCORED)}")
    return [*lines, *tables]


def _files(place: Path) -> Iterator[tuple[Path, str]]:
    """The JSON files below a folder whose first record has the keys of a layout, each with that layout."""
    known = [layout for layout in LAYOUTS if layout.name in SCORED]
    for path in sorted(place.rglob("*.json")):
        _, first = next(records(path))
        for layout in known:
            if isinstance(first, dict) and first.keys() >= set(layout.keys):
                yield path, layout.name
                break


def _scored(session: Session, cases: Sequence[Case]) -> list[str]:
    metrics = usual_metrics(session.registry, cases)
    rows = [("unedited", session.evaluate(cases, metrics))]
    for method in METHODS:
        patches = session.edit_each([case.request for case in cases], EditOptions(method=method), measured=False)
        rows.append((method, session.evaluate_each(cases, patches, metrics)))
    table = [f"| method | {' | '.join(metrics)} |", "|---" * (len(metrics) + 1) + "|"]
    return table + [f"| {name} | {' | '.join(map(_shown, reports))} |" for name, reports in rows]


def _shown(report: Report) -> str:
    return f"{report.value:.1%}" if registry().metric(report.metric).share else f"{report.value:.3f}"
