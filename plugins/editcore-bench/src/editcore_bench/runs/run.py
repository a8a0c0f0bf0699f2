"""A run: begin its folder, leave finished cells, run the others, keep each as it ends."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from editcore.authoring.evaluation import case_to_json
from editcore_bench.runs.engines import Engine
from editcore_bench.runs.folder import RunFolder, cell_name
from editcore_bench.runs.prepared import Prepared
from editcore_bench.runs.where import where
from editcore_bench.runs.work import Failed, Task
from editcore_hooks import UsageError


@frozen
class Outcome:
    """How a run ended: labels of the cells that were there, were run, and have no figures with the reason."""

    folder: RunFolder
    kept: tuple[str, ...]
    done: tuple[str, ...]
    failed: tuple[tuple[str, Failed], ...]


def run(
    prepared: Prepared, out: Path, engine: Engine, say: Callable[[str], None], bar: Callable[[int], Any]
) -> Outcome:
    """Run every cell of a prepared spec that `out` does not hold yet; `bar(total)` is a progress bar over edits.

    Raises `UsageError` when `out` holds another run, or cells are left of one that other versions began, and
    `ConflictError` when a run is writing into it.
    """
    folder = RunFolder(out)
    cells = prepared.spec.cells()
    with folder.locked():
        here = where()
        here["versions"] |= prepared.versions
        manifest = {"identity": prepared.identity(), "cells": [cell_name(cell) for cell in cells], "where": here}
        cases = {label: map(case_to_json, some) for label, some in prepared.cases.items()}
        folder.begin(manifest, cases)
        tasks = [_task(prepared, cell) for cell in cells]
        kept = [task.cell.label for task in tasks if folder.finished(task.cell)]
        left = [task for task in tasks if task.cell.label not in kept]
        versions = folder.manifest()["where"]["versions"]
        if left and (changed := _changed(versions, here["versions"])):
            raise UsageError(
                f"{out} was begun with {changed}", hint="choose another --out: its cells would not compare"
            )
        if kept:
            say(f"{len(kept)} of {len(tasks)} cells exist already")
        done: list[str] = []
        failed: list[tuple[str, Failed]] = []
        with bar(sum(task.edits for task in left)) as progress:
            for task, outcome in engine.run(left, progress.advance):
                if isinstance(outcome, Failed):
                    failed.append((task.cell.label, outcome))
                    continue
                if changed := _changed(versions, outcome.versions):
                    failed.append((task.cell.label, Failed(f"the run was begun with {changed} of its worker", "")))
                    continue
                about = {
                    "dtype": outcome.dtype,
                    "cost": outcome.cost,
                    "edits": tuple(outcome.edits),
                    "method": outcome.method,
                    "where": outcome.where,
                }
                folder.write(task.cell, outcome.rows, about)
                done.append(task.cell.label)
                say(f"{task.cell.label}: {outcome.cost['edits']} edits in {outcome.cost['edit_seconds']:.1f} s")
    return Outcome(folder, tuple(kept), tuple(done), tuple(failed))


def _task(prepared: Prepared, cell: Any) -> Task:
    spec = prepared.spec
    cases = prepared.cases[cell.dataset.label]
    place = prepared.places[cell.model]
    encoder = None if prepared.encoder is None else str(prepared.encoder)
    return Task(cell, cases, place, prepared.machine, spec.metrics, spec.answer_tokens, prepared.neutral, encoder)


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The packages with another version, in words; empty if there are none."""
    both = sorted(before.keys() & now.keys())
    return ", ".join(f"{name} {before[name]} and not {now[name]}" for name in both if before[name] != now[name])
