"""The effect of a patch, measured before it is written: after rounding, on the weights that will be deployed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from math import exp
from statistics import fmean
from typing import TYPE_CHECKING, Any

from attrs import frozen

from editcore.evaluation.engine.evaluate import evaluate
from editcore.models.running.generation import generate
from editcore.models.running.scoring import TargetScore
from editcore.patches.file.patch import Patch
from editcore_hooks import Case, EditRequest, Report

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

PROBABILITY = "p.target@1"
"""Probability of the whole new target after the prompt, teacher-forced."""
HALF = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer writes for bytes that are not a whole character."""
_MORE = 4
"""Tokens that an answer may have beyond its target."""


@frozen
class Measurement:
    """Probability of the whole target before and after; `took`: every token of it is now the likeliest.

    `held`: that was so before the patch. Of a target that did not take, `there` is the beginning that is the likeliest,
    `missing` the rest, and `answer` what the model says in its place, where it was asked.
    """

    request: str
    before: float
    after: float
    took: bool
    held: bool = False
    there: str = ""
    missing: str = ""
    answer: str | None = None


@frozen
class Measured:
    patch: Patch
    """The patch with the figures in its annotation; its id is the same."""
    measurements: tuple[Measurement, ...]
    reports: tuple[Report, ...]


def measure(
    session: "OpenSession",
    patch: Patch,
    cases: Sequence[Case],
    metrics: Sequence[str] = (),
    *,
    answers: int = 0,
    announced: bool = True,
) -> Measured:
    """Score `cases` without and with `patch`, and note the figures on it. It may be on the model already.

    The first `answers` cases whose target did not take are answered as well. Unless `announced`, observers do not hear
    of the patch that is put on for a moment.
    """
    others = [patch_id for patch_id in session.live.ids if patch_id != patch.patch_id]
    present = patch.patch_id in session.live.ids
    with session.live.only(others) if present else nullcontext():
        before = _scores(session, cases)
    with nullcontext() if present else session.patched(patch) if announced else _on(session, patch):
        after = _scores(session, cases)
        failed = [case for case, new in zip(cases, after, strict=True) if not all(new.hits)][:answers]
        said = dict(zip((case.request.id for case in failed), _answers(session, failed), strict=True))
        reports = tuple(evaluate(session, cases, metrics)) if metrics else ()
    measurements = tuple(
        _measurement(session, case.request, old, new, said.get(case.request.id))
        for case, old, new in zip(cases, before, after, strict=True)
    )
    dtype = {"dtype": session.loaded.dtype, "stored_dtype": session.loaded.stored_dtype}
    rows: list[dict[str, Any]] = [
        {
            "metric": PROBABILITY,
            "value": fmean(measurement.after for measurement in measurements),
            "before": fmean(measurement.before for measurement in measurements),
            "n": len(measurements),
            **dtype,
            "rows": [
                {"request": e.request, "before": e.before, "after": e.after, "took": e.took} for e in measurements
            ],
        }
    ]
    rows += [{"metric": r.metric, "value": r.value, "low": r.low, "high": r.high, "n": r.n, **dtype} for r in reports]
    return Measured(patch.with_about(metrics=rows), measurements, reports)


@contextmanager
def _on(session: "OpenSession", patch: Patch) -> Iterator[None]:
    session.live.add(patch)
    try:
        yield
    finally:
        session.live.remove(patch.patch_id)


def _measurement(
    session: "OpenSession", request: EditRequest, before: TargetScore, after: TargetScore, answer: str | None
) -> Measurement:
    there = missing = ""
    if not all(after.hits):
        there, missing = _split(session, session.encode(request).target_ids, after.hits.index(False))
    took, held = all(after.hits), all(before.hits)
    return Measurement(request.id, exp(before.sum), exp(after.sum), took, held, there, missing, answer)


def _split(session: "OpenSession", ids: Sequence[int], held: int) -> tuple[str, str]:
    """The texts before and from token `held`; a character of several tokens is in the second as a whole."""
    while held and str(session.tokenizer.decode(ids[:held])).endswith(HALF):
        held -= 1
    before, after = (str(session.tokenizer.decode(part)).strip() for part in (ids[:held], ids[held:]))
    return before, after


def _answers(session: "OpenSession", cases: Sequence[Case]) -> list[str]:
    """The greedy continuations of the prompts, a little longer than the longest target."""
    if not cases:
        return []
    encoded = [session.encode(case.request) for case in cases]
    longest = max(len(one.target_ids) for one in encoded)
    return generate(session.model, session.tokenizer, [one.prompt_ids for one in encoded], longest + _MORE)


def _scores(session: "OpenSession", cases: Sequence[Case]) -> list[TargetScore]:
    requests = [case.request for case in cases]
    return session.score_targets([(r.rendered().text, r.target_new, r.template, r.target_prefix) for r in requests])
