"""One cell, start to end, in whatever process it is run."""

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen

from editcore import EditOptions, Session
from editcore import open as open_model
from editcore.authoring.evaluation import OURS, NeutralText
from editcore.authoring.running import prepare
from editcore_bench.runs.baselines import RETRIEVED, described, rows_of
from editcore_bench.runs.encoder import Encoder
from editcore_bench.runs.prepared import Machine
from editcore_bench.runs.protocols import Trace, follow
from editcore_bench.runs.scoring import Row, Scorer
from editcore_bench.runs.where import where
from editcore_bench.spec.values import Cell
from editcore_hooks import Case, EditcoreError


@frozen
class Task:
    """A cell with all that a worker needs to run it, wherever it is: values, and the place of the model."""

    cell: Cell
    cases: tuple[Case, ...]
    place: str
    machine: Machine
    metrics: tuple[str, ...]
    answer_tokens: int
    neutral: NeutralText = OURS
    encoder: str | None = None

    @property
    def edits(self) -> int:
        """The number of cases that the cell edits, for progress."""
        size = self.cell.protocol.size
        return {"single": len(self.cases), "batch": len(self.cases) // size * size, "sequential": size}[
            self.cell.protocol.kind
        ]

    @property
    def together(self) -> int:
        """The number of facts edited at once, for which settings are found and statistics collected."""
        protocol = self.cell.protocol
        size = protocol.size if protocol.kind == "batch" else protocol.at_once
        return sum(len(case.requests) for case in self.cases[:size])


@frozen
class Done:
    """The result of a cell, its origin and its machine. `rows` and `edits` are the same on every run; `cost` is not."""

    rows: list[Row]
    edits: list[dict[str, Any]]
    cost: dict[str, Any]
    dtype: str
    method: dict[str, Any]
    where: dict[str, Any]

    @property
    def versions(self) -> dict[str, str]:
        """Versions in the worker: the packages, and the plugin of the method."""
        return {**self.where["versions"], self.method["distribution"]: self.method["version"]}


@frozen
class Failed:
    """Why a cell has no figures; `trace` is for those who look for a mistake in the code."""

    message: str
    trace: str


def run_task(task: Task, tick: Callable[[int], None] = lambda _: None) -> Done | Failed:
    """Run a cell. What goes wrong in it is its result: the other cells go on."""
    try:
        return _run(task, tick)
    except EditcoreError as error:
        return Failed(str(error), traceback.format_exc())
    except Exception as error:
        return Failed(f"{type(error).__name__}: {error}", traceback.format_exc())


def _run(task: Task, tick: Callable[[int], None]) -> Done:
    session = _session(task)
    if task.cell.method.baseline is not None:
        return _baseline(task, session, task.cell.method.baseline, tick)
    options = EditOptions(
        method=task.cell.method.name,
        profile=task.cell.method.profile,
        hparams=(("the spec", task.cell.method.settings),),
        transforms=task.cell.method.transforms,
        memory=True,
    )
    started = time.perf_counter()
    run = prepare(session, options, task.together)
    type(run.method).make_ready(session, [run.resolved.hparams])
    ready = time.perf_counter() - started
    trace = Trace(tick)
    scorer = Scorer(session, task.metrics, task.answer_tokens)
    follow(task.cell.protocol, session, task.cases, options, scorer, trace)
    cost = {
        "edits": trace.facts,
        "edit_seconds": trace.seconds,
        "asset_seconds": ready + trace.asset_seconds,
        "peak_bytes": trace.peak,
        "seconds": time.perf_counter() - started,
    }
    method = {
        **{key: trace.made["method"][key] for key in ("name", "distribution", "version")},
        **{key: trace.made[key] for key in ("hparams", "profile", "transforms") if key in trace.made},
        **({} if trace.learnt is None else {"learnt": trace.learnt}),
    }
    return Done(trace.rows, trace.edits, cost, session.loaded.dtype, method, where())


def _baseline(task: Task, session: Session, name: str, tick: Callable[[int], None]) -> Done:
    started = time.perf_counter()
    encoder = Encoder.open(Path(task.encoder)) if name == RETRIEVED and task.encoder is not None else None
    scorer = Scorer(session, task.metrics, task.answer_tokens)
    rows = rows_of(name, task.cell.protocol, task.cases, scorer, encoder, tick)
    cost = {"edits": task.edits, "edit_seconds": 0.0, "asset_seconds": 0.0, "peak_bytes": 0}
    cost["seconds"] = time.perf_counter() - started
    return Done(rows, [], cost, session.loaded.dtype, dict(described(name, encoder)), where())


_open: dict[tuple[str, Machine, int], Session] = {}
"""The model of this process, kept from one cell to the next; never two."""


def _session(task: Task) -> Session:
    key = (task.place, task.machine, task.cell.seed)
    if key not in _open:
        _open.clear()
        device, dtype = task.machine.device, task.machine.dtype
        _open[key] = open_model(task.place, device=device, dtype=dtype, seed=task.cell.seed)
    session = _open[key]
    session.neutral = task.neutral
    return session
