"""What a patch does, measured before it is written: after rounding, on the weights that will be deployed."""

from collections.abc import Sequence
from contextlib import nullcontext
from math import exp
from statistics import fmean
from typing import TYPE_CHECKING, Any

from attrs import frozen

from editcore.models.scoring import TargetScore
from editcore.patches.patch import Patch
from editcore_hooks import Case, Report

if TYPE_CHECKING:
    from editcore.editing.session import Session

PROBABILITY = "p.target@1"
"""Probability of the whole new target after the prompt, teacher-forced."""


@frozen
class Effect:
    """Probability of the whole target before and after; `took`: every token of it is now the likeliest."""

    request: str
    before: float
    after: float
    took: bool


@frozen
class Measured:
    patch: Patch
    """The patch with the figures in its annotation; its id is the same."""
    effects: tuple[Effect, ...]
    reports: tuple[Report, ...]


def measure(session: "Session", patch: Patch, cases: Sequence[Case], metrics: Sequence[str]) -> Measured:
    """Score `cases` without and with `patch`, and note the figures on it. It may be on the model already."""
    others = [patch_id for patch_id in session.live.ids if patch_id != patch.patch_id]
    present = patch.patch_id in session.live.ids
    with session.live.only(others) if present else nullcontext():
        before = _scores(session, cases)
    with nullcontext() if present else session.patched(patch):
        after = _scores(session, cases)
        reports = tuple(session.evaluate(cases, metrics))
    effects = tuple(
        Effect(case.request.id, exp(old.sum), exp(new.sum), all(new.hits))
        for case, old, new in zip(cases, before, after, strict=True)
    )
    dtype = {"dtype": session.loaded.dtype, "stored_dtype": session.loaded.stored_dtype}
    rows: list[dict[str, Any]] = [
        {
            "metric": PROBABILITY,
            "value": fmean(effect.after for effect in effects),
            "before": fmean(effect.before for effect in effects),
            "n": len(effects),
            **dtype,
            "rows": [{"request": e.request, "before": e.before, "after": e.after, "took": e.took} for e in effects],
        }
    ]
    rows += [{"metric": r.metric, "value": r.value, "low": r.low, "high": r.high, "n": r.n, **dtype} for r in reports]
    return Measured(patch.with_about(metrics=rows), effects, reports)


def _scores(session: "Session", cases: Sequence[Case]) -> list[TargetScore]:
    requests = [case.request for case in cases]
    return session.score_targets([(r.rendered().text, r.target_new, r.template, r.target_prefix) for r in requests])
