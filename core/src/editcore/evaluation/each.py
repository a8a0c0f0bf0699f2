"""Single edits: every case with its own patch, many in one batch by side branches, or one after another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from editcore.evaluation.asking import AskingMetric, NothingAskedError, Row, rows_of
from editcore.evaluation.evaluator import Evaluator
from editcore.evaluation.reports import of_rows
from editcore.evaluation.respondents import Present, Single
from editcore.evaluation.texts import rows_with_answers
from editcore.models.branches import Branches
from editcore.models.stacks import IN_BLOCK
from editcore.patches.deltas import whole
from editcore.patches.patch import Patch
from editcore.patches.resolving import require_base
from editcore.plugins.calls import stage_manager
from editcore_hooks import Case, LowRank, Metric, Report, Site, UsageError

if TYPE_CHECKING:
    from editcore.editing.session import Session

TOGETHER: Final = 128
"""Edits whose factors are held at once."""
Factors = dict[Site, LowRank]


def evaluate_each(
    session: "Session", cases: Sequence[Case], patches: Sequence[Patch], metrics: Sequence[str], answers: int
) -> list[Report]:
    """The reports over all cases, each scored with its own patch on top of what is on the model."""
    if len(cases) != len(patches):
        raise UsageError(f"{len(patches)} patches for {len(cases)} cases", hint="edit_each makes one for each")
    made = [session.registry.metric(name)() for name in metrics]
    rows: list[list[Row]] = [[] for _ in made]
    with session.progress("cases", len(cases)) as progress:
        for start in range(0, len(cases), TOGETHER):
            some, own = cases[start : start + TOGETHER], patches[start : start + TOGETHER]
            for all_rows, new in zip(rows, _rows(session, some, own, made, answers, progress), strict=True):
                all_rows += new
    return [of_rows(metric, own_rows) for metric, own_rows in zip(made, rows, strict=True)]


def _rows(
    session: "Session",
    cases: Sequence[Case],
    patches: Sequence[Patch],
    metrics: Sequence[Metric],
    answers: int,
    progress: Any,
) -> list[list[Row]]:
    factors = _branching(session, patches, metrics)
    if factors is not None:
        single = Single(session, own=patches, branches=Branches.of(session.anatomy, factors))
        asking = [metric for metric in metrics if isinstance(metric, AskingMetric)]
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


def _alone(session: "Session", metrics: Sequence[Metric], case: Case) -> list[list[Row]]:
    """The rows of one case, all questions together; by the hook where a plugin scores or observes."""
    asking = [metric for metric in metrics if isinstance(metric, AskingMetric)]
    if len(asking) == len(metrics) and not _observed(session, "editcore_evaluate"):
        return rows_of(asking, [case], Present(session, each=True))
    return [_by_hook(session, metric, case) for metric in metrics]


def _by_hook(session: "Session", metric: Metric, case: Case) -> list[Row]:
    """None where the case has nothing for the metric."""
    try:
        (report,) = session.evaluate([case], [metric.name])
    except NothingAskedError:
        return []
    rows = [dict(row) for row in report.rows]
    if not rows:  # a metric of a plugin may give none
        rows = [{"about": "edit", "prompt": case.request.rendered().text, "target": None, "value": report.value}]
    return [{**row, "case": case.request.id} for row in rows]


def _branching(session: "Session", patches: Sequence[Patch], metrics: Sequence[Metric]) -> list[Factors] | None:
    """The factors of each patch by site; None where side branches would not show what the patches do.

    Observers are promised every call, a metric that does not ask runs the model itself, and in a narrower dtype
    than float32 the weights of a patched model are rounded where a branch is not.
    """
    if _observed(session, "editcore_evaluate") or _observed(session, "editcore_apply_patch"):
        return None
    if not all(isinstance(metric, AskingMetric) for metric in metrics):
        return None
    if {session.loaded.dtype, session.loaded.stored_dtype} != {"float32"}:
        return None
    factors = [_factors(session, patch) for patch in patches]
    return None if any(each is None for each in factors) else [each for each in factors if each is not None]


def _factors(session: "Session", patch: Patch) -> Factors | None:
    if patch.kind != "weights" or set(patch.requires) - set(session.live.ids) or patch.patch_id in session.live.ids:
        return None
    found: Factors = {}
    for own, key in require_base(patch, session.checkpoint).keys.items():
        site = session.anatomy.site_of(session.anatomy.parameter_of(key))
        if patch.targets[own]["form"] != "low_rank" or site is None or site.role not in IN_BLOCK:
            return None
        delta = whole(patch.deltas(own))
        left, right = delta.parts["left"] * delta.scale, delta.parts["right"]
        transposed = session.anatomy.transposed(site)
        found[site] = LowRank(right.T.float(), left.T.float()) if transposed else LowRank(left.float(), right.float())
    return found


def _observed(session: "Session", stage: str) -> bool:
    return bool(stage_manager(session.registry, appliers=[Evaluator()]).observers(stage))
