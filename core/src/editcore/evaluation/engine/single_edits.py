"""Single edits: every case with its own patch, many in one batch by side branches, or one after another."""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from editcore.cases.reading import identified
from editcore.evaluation.engine.answerers import Present, Single
from editcore.evaluation.engine.dialogue import DialogueMetric, NothingAskedError, Row, as_asked, made, rows_of
from editcore.evaluation.engine.evaluate import evaluate
from editcore.evaluation.engine.evaluator import Evaluator
from editcore.evaluation.engine.row_reports import of_rows
from editcore.evaluation.engine.texts import rows_with_answers
from editcore.models.anatomy.stacks import IN_BLOCK
from editcore.models.running.branches import Branches
from editcore.patches.checkpoint.resolving import require_base
from editcore.patches.file.patch import Patch
from editcore.patches.forms.deltas import whole
from editcore.plugins.calls import stage_manager
from editcore_hooks import Case, Dense, LowRank, Metric, Report, Site, UsageError

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

TOGETHER: Final = 128
ROOM: Final = 1 << 30
"""Edits, and bytes of their updates, that are held at once."""
Update = dict[Site, LowRank | Dense]


def evaluate_each(
    session: "OpenSession", cases: Sequence[Case], patches: Sequence[Patch], metrics: Sequence[str], answers: int
) -> list[Report]:
    """The reports over all cases, each scored with its own patch on top of what is on the model."""
    cases = identified(cases)
    if len(cases) != len(patches):
        raise UsageError(
            f"{len(patches)} patches for {len(cases)} cases", hint="make one patch for each case with edit_each"
        )
    every = made(session, metrics)
    rows: list[list[Row]] = [[] for _ in every]
    at_once = _at_once(patches)
    with session.progress("cases", len(cases)) as progress:
        for start in range(0, len(cases), at_once):
            some, own = cases[start : start + at_once], patches[start : start + at_once]
            for all_rows, new in zip(rows, _rows(session, some, own, every, answers, progress), strict=True):
                all_rows += new
    reports = [
        as_asked(name, of_rows(metric, own_rows)) for name, metric, own_rows in zip(metrics, every, rows, strict=True)
    ]
    return [evolve(report, dtype=session.loaded.dtype, protocol="single") for report in reports]


def _rows(
    session: "OpenSession",
    cases: Sequence[Case],
    patches: Sequence[Patch],
    metrics: Sequence[Metric],
    answers: int,
    progress: Any,
) -> list[list[Row]]:
    updates = _branching(session, patches, metrics)
    if updates is not None:
        single = Single(session, own=patches, branches=Branches.of(session.anatomy, updates))
        asking = [metric for metric in metrics if isinstance(metric, DialogueMetric)]
        found = rows_of(asking, cases, single)
        progress.advance(len(cases))
        return rows_with_answers(found, cases, single, answers) if answers else found
    rows: list[list[Row]] = [[] for _ in metrics]
    for case, patch in zip(cases, patches, strict=True):
        with session.patched(patch):
            alone = _alone(session, metrics, case)
            if answers:
                alone = rows_with_answers(alone, [case], Present(session), answers)
        for own, new in zip(rows, alone, strict=True):
            own += new
        progress.advance()
    return rows


def _alone(session: "OpenSession", metrics: Sequence[Metric], case: Case) -> list[list[Row]]:
    """The rows of one case, all questions together; by the hook where a plugin scores or observes."""
    asking = [metric for metric in metrics if isinstance(metric, DialogueMetric)]
    if len(asking) == len(metrics) and not _observed(session, "editcore_evaluate"):
        return rows_of(asking, [case], Present(session, each=True))
    return [_by_hook(session, metric, case) for metric in metrics]


def _by_hook(session: "OpenSession", metric: Metric, case: Case) -> list[Row]:
    """None where the case has nothing for the metric."""
    try:
        (report,) = evaluate(session, [case], [session.registry.metrics.written(type(metric))])
    except NothingAskedError:
        return []
    rows = [dict(row) for row in report.rows]
    if not rows:  # a metric of a plugin may give none
        rows = [{"about": "edit", "prompt": case.request.rendered().text, "target": None, "value": report.value}]
    return [{**row, "case": case.request.id} for row in rows]


def _branching(session: "OpenSession", patches: Sequence[Patch], metrics: Sequence[Metric]) -> list[Update] | None:
    """The update of each patch by site; None where side branches would not show what the patches do.

    Observers are promised every call, a metric that does not ask runs the model itself, and a sum in a narrower dtype
    than float32 is rounded once more than one product is.
    """
    if _observed(session, "editcore_evaluate") or _observed(session, "editcore_apply_patch"):
        return None
    if session.loaded.dtype != "float32" or not all(isinstance(metric, DialogueMetric) for metric in metrics):
        return None
    updates: list[Update] = []
    for patch in patches:
        update = _update(session, patch)
        if update is None:
            return None
        updates.append(update)
    return updates


def _update(session: "OpenSession", patch: Patch) -> Update | None:
    """Factors where the weights are kept in float32, else the difference of the weights as they will be rounded."""
    if patch.kind != "weights" or set(patch.requires) - set(session.live.ids) or patch.patch_id in session.live.ids:
        return None
    if session.live.runs_beside(patch):
        return None
    found: Update = {}
    for own, key in require_base(patch, session.checkpoint).keys.items():
        target = patch.targets[own]
        site = session.anatomy.site_of(session.anatomy.parameter_of(key))
        if site is None or site.role not in IN_BLOCK or target.form.exclusive or len(target.shape) != 2:
            return None
        transposed = session.anatomy.transposed(site)
        if target.form.factored and session.checkpoint.entries[key].dtype == "F32":
            delta = whole(patch.deltas(own))
            left, right = delta.factors
            left, right = (left * delta.scale).float(), right.float()
            found[site] = LowRank(right.T, left.T) if transposed else LowRank(left, right)
        else:
            change = session.live.change(patch, own)
            found[site] = Dense(change.T if transposed else change)
    return found


def _at_once(patches: Sequence[Patch]) -> int:
    """The number of patches held together: as many as fit into a fixed space; low-rank patches hardly need any."""
    sizes: list[int] = [sum(4 * prod(target.shape) for target in patch.targets.values()) for patch in patches]
    return max(1, min(TOGETHER, ROOM // max([1, *sizes])))


def _observed(session: "OpenSession", stage: str) -> bool:
    return bool(stage_manager(session.registry, appliers=[Evaluator()]).observers(stage))
