"""Protocols of edits: alone, in batches, one after another. The only place that says when a case is scored."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from attrs import define, field, frozen

from editcore import EditOptions, Session
from editcore.authoring.patches import Patch
from editcore_bench.runs.scoring import Phase, Row, Scorer
from editcore_bench.runs.training import curves_of, learnt_of
from editcore_bench.spec.values import TOGETHER, Protocol
from editcore_hooks import Case, EditMethod


@define
class Trace:
    """The record of a cell while it runs: scores, the cases and the patch of each edit with its losses, how its first
    patch was made and what it learnt, and what the edits cost."""

    tick: Callable[[int], None]
    rows: list[Row] = field(factory=list)
    edits: list[dict[str, Any]] = field(factory=list)
    made: Mapping[str, Any] = field(factory=dict)
    learnt: Mapping[str, Any] | None = None
    facts: int = 0
    seconds: float = 0.0
    asset_seconds: float = 0.0
    peak: int = 0

    def edited(self, cases: Sequence[Case], patches: Sequence[Patch]) -> None:
        """Note one computation: of one patch of all cases, or of a patch each."""
        self.made = self.made or patches[0].about
        cost = patches[0].about["cost"]
        facts = sum(len(case.requests) for case in cases)
        self.facts += facts
        self.seconds += cost["seconds"] * facts
        self.asset_seconds += cost["assets_seconds"]
        self.peak = max(self.peak, cost["peak_bytes"] or 0)
        ids = [case.request.id for case in cases]
        groups = [ids] if len(patches) == 1 else [[one] for one in ids]
        if not self.edits and (learnt := learnt_of(patches[0])) is not None:
            self.learnt = learnt
        for some, patch in zip(groups, patches, strict=True):
            curves = curves_of(patch)
            self.edits.append({"cases": some, "patch": patch.patch_id, **({"curves": curves} if curves else {})})
        self.tick(len(cases))


def follow(
    protocol: Protocol, session: Session, cases: Sequence[Case], options: EditOptions, scorer: Scorer, trace: Trace
) -> None:
    """Edit and score `cases` as the protocol says; afterwards the model is the base again, to the bit."""
    {"single": _single, "batch": _batch, "sequential": _sequential}[protocol.kind](
        protocol, session, cases, options, scorer, trace
    )


def _single(
    protocol: Protocol, session: Session, cases: Sequence[Case], options: EditOptions, scorer: Scorer, trace: Trace
) -> None:
    can_together = session.registry.method(options.method).compute_each is not EditMethod.compute_each
    for some in _groups(cases, TOGETHER):
        if can_together and all(len(case.requests) == 1 for case in some):
            patches = session.edit_each([case.request for case in some], options, measured=False)
            trace.edited(some, patches)
        else:
            patches = []
            for case in some:
                patches.append(session.edit_all(case.requests, options, measured=False))
                trace.edited([case], patches[-1:])  # the progress bar moves after each
        trace.rows += scorer.alone(some, patches)


def _batch(
    protocol: Protocol, session: Session, cases: Sequence[Case], options: EditOptions, scorer: Scorer, trace: Trace
) -> None:
    for some in _groups(cases, protocol.size):
        if len(some) < protocol.size:
            continue  # a smaller batch is another protocol
        patch = session.edit_all([request for case in some for request in case.requests], options, measured=False)
        trace.edited(some, [patch])
        with session.patched(patch):
            trace.rows += scorer.together(some, "batch", protocol.size)


def _sequential(
    protocol: Protocol, session: Session, cases: Sequence[Case], options: EditOptions, scorer: Scorer, trace: Trace
) -> None:
    with ExitStack() as entered:
        for moment in moments(protocol, cases):
            requests = [request for case in moment.new for request in case.requests]
            patch = session.edit_all(requests, options, measured=False)
            trace.edited(moment.new, [patch])
            if patch.patch_id not in session.live.ids:  # two edits that change nothing are one patch
                entered.enter_context(session.patched(patch))
            for phase, some in moment.scored:
                trace.rows += scorer.together(some, phase, moment.number)


@frozen
class Moment:
    """A step of a sequence: the cases that are `new`, how many are on with them, and what is scored in which phase."""

    number: int
    new: Sequence[Case]
    scored: Sequence[tuple[Phase, Sequence[Case]]]


def moments(protocol: Protocol, cases: Sequence[Case]) -> Iterator[Moment]:
    """The steps of a sequential protocol: right after each group, the group `gap` edits before it, all at a mark."""
    chosen = cases[: protocol.size]
    for start in range(0, len(chosen), protocol.at_once):
        new = chosen[start : start + protocol.at_once]
        number = start + len(new)
        scored: list[tuple[Phase, Sequence[Case]]] = [("immediate", new)]
        if protocol.gap is not None and start >= protocol.gap:
            scored.append(("gap", chosen[start - protocol.gap : number - protocol.gap]))
        if number in protocol.checkpoints:
            scored.append(("final", chosen[:number]))
        yield Moment(number, new, scored)


def _groups(cases: Sequence[Case], size: int) -> Iterator[Sequence[Case]]:
    for start in range(0, len(cases), size):
        yield cases[start : start + size]
