"""A run: begin its folder, leave finished cells, run the others, keep each as it ends."""

import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from editcore.evaluation.case_rows import case_to_json
from editcore_bench.runs.engines import Engine
from editcore_bench.runs.folder import RunFolder, cell_name
from editcore_bench.runs.prepared import Prepared
from editcore_bench.runs.work import Failed, Task

PACKAGES: Final = ("editcore", "editcore-bench", "torch", "transformers", "safetensors", "numpy")


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

    Raises `UsageError` when `out` holds another run, and `ConflictError` when a run is writing into it.
    """
    folder = RunFolder(out)
    cells = prepared.spec.cells()
    with folder.locked():
        manifest = {
            "identity": prepared.identity(),
            "cells": [cell_name(cell) for cell in cells],
            "where": where(),
        }
        cases = {label: map(case_to_json, some) for label, some in prepared.cases.items()}
        folder.begin(manifest, cases)
        tasks = [_task(prepared, cell) for cell in cells]
        kept = [task.cell.label for task in tasks if folder.finished(task.cell)]
        left = [task for task in tasks if task.cell.label not in kept]
        if kept:
            say(f"{len(kept)} of {len(tasks)} cells are there already")
        done: list[str] = []
        failed: list[tuple[str, Failed]] = []
        with bar(sum(task.edits for task in left)) as progress:
            for task, outcome in engine.run(left, progress.advance):
                if isinstance(outcome, Failed):
                    failed.append((task.cell.label, outcome))
                    continue
                about = {"dtype": outcome.dtype, "cost": outcome.cost, "edits": tuple(outcome.edits), "where": where()}
                folder.write(task.cell, outcome.rows, about)
                done.append(task.cell.label)
                say(f"{task.cell.label}: {outcome.cost['edits']} edits in {outcome.cost['edit_seconds']:.1f} s")
    return Outcome(folder, tuple(kept), tuple(done), tuple(failed))


def _task(prepared: Prepared, cell: Any) -> Task:
    spec = prepared.spec
    cases = prepared.cases[cell.dataset.label]
    return Task(cell, cases, prepared.places[cell.model], prepared.machine, spec.metrics, spec.answer_tokens)


def where() -> dict[str, Any]:
    """The machine, the versions, the moment. No name of a person or a folder."""
    import torch

    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "accelerator": str(accelerator) if accelerator is not None else None,
        "versions": {name: version(name) for name in PACKAGES},
    }
