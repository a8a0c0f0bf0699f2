"""How edits meet the model: alone, in batches, one after another. The only place that says when a case is scored."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import torch
from attrs import define, field

from editcore.editing.compute import Options
from editcore.editing.session import Session
from editcore_bench.runs.memory import peak_bytes, start_watching
from editcore_bench.runs.scoring import Row, Scorer
from editcore_bench.spec.values import Protocol
from editcore_hooks import Case

TOGETHER: Final = 32
"""Single edits that are computed, and scored, at once: the same figures as one by one, sooner."""


@define
class Trace:
    """What a cell did, as it goes: scores, and of every edit the cases, the patch and the seconds it took."""

    device: torch.device
    tick: Callable[[int], None]
    rows: list[Row] = field(factory=list)
    edits: list[dict[str, Any]] = field(factory=list)
    seconds: float = 0.0
    peak: int = 0

    @contextmanager
    def clock(self) -> Iterator[None]:
        """The body is editing: its time and its memory are what the edits cost."""
        start_watching(self.device)
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started
        self.peak = max(self.peak, peak_bytes(self.device))

    def edited(self, cases: Sequence[Case], patch_id: str) -> None:
        self.edits.append({"cases": [case.request.id for case in cases], "patch": patch_id})
        self.tick(len(cases))


def follow(
    protocol: Protocol, session: Session, cases: Sequence[Case], options: Options, scorer: Scorer, trace: Trace
) -> None:
    """Edit and score `cases` as the protocol says; afterwards the model is the base again, to the bit."""
    {"single": _single, "batch": _batch, "sequential": _sequential}[protocol.kind](
        protocol, session, cases, options, scorer, trace
    )


def _single(
    protocol: Protocol, session: Session, cases: Sequence[Case], options: Options, scorer: Scorer, trace: Trace
) -> None:
    for some in _groups(cases, TOGETHER):
        with trace.clock():
            patches = session.edit_each([case.request for case in some], options)
        trace.rows += scorer.alone(some, patches)
        for case, patch in zip(some, patches, strict=True):
            trace.edited([case], patch.patch_id)


def _batch(
    protocol: Protocol, session: Session, cases: Sequence[Case], options: Options, scorer: Scorer, trace: Trace
) -> None:
    for some in _groups(cases, protocol.size):
        if len(some) < protocol.size:
            continue  # a smaller batch is another protocol
        with trace.clock():
            patch = session.edit_all([case.request for case in some], options)
        with session.patched(patch):
            trace.rows += scorer.together(some, "batch", protocol.size)
        trace.edited(some, patch.patch_id)


def _sequential(
    protocol: Protocol, session: Session, cases: Sequence[Case], options: Options, scorer: Scorer, trace: Trace
) -> None:
    chosen = cases[: protocol.size]
    with ExitStack() as stack:
        for number, case in enumerate(chosen, 1):
            with trace.clock():
                patch = session.edit_all([case.request], options)
            if patch.patch_id not in session.live.ids:  # two edits that change nothing are one patch
                stack.enter_context(session.patched(patch))
            trace.rows += scorer.together([case], "immediate", number)
            if protocol.gap is not None and number > protocol.gap:
                trace.rows += scorer.together([chosen[number - 1 - protocol.gap]], "gap", number)
            if number in protocol.checkpoints:
                trace.rows += scorer.together(chosen[:number], "final", number)
            trace.edited([case], patch.patch_id)


def _groups(cases: Sequence[Case], size: int) -> Iterator[Sequence[Case]]:
    for start in range(0, len(cases), size):
        yield cases[start : start + size]
