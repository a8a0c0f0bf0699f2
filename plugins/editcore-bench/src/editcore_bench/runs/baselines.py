"""Baselines: rows without an edit. They show what the same model does with nothing, or with the fact in its prompt."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from editcore_bench.runs.encoder import Encoder
from editcore_bench.runs.protocols import moments
from editcore_bench.runs.scoring import Row, Scorer
from editcore_bench.spec.values import BASELINES, Protocol
from editcore_hooks import Case

UNEDITED, IN_PROMPT, RETRIEVED = BASELINES
Preface = Callable[[Case, str], str]


def statement(case: Case) -> str:
    """The facts of a case as text before a prompt."""
    said = (f"{request.rendered().text} {request.target_new.strip()}." for request in case.requests)
    return f"Remember this: {' '.join(said)}\n\n"


def preface(name: str, facts: Sequence[Case], encoder: Encoder | None) -> Preface:
    """What stands before each prompt when `facts` are the edited ones.

    The unedited model gets nothing, `fact-in-prompt` the fact that the case is about, whatever the prompt asks, and
    `retrieved-fact` the one of all edited facts that is nearest to the prompt.
    """
    if name == UNEDITED:
        return lambda case, prompt: ""
    if name == IN_PROMPT:
        return lambda case, prompt: statement(case)
    assert encoder is not None
    texts = [statement(case) for case in facts]
    nearest = encoder.nearest(texts)
    return lambda case, prompt: texts[nearest(prompt)]


def rows_of(
    name: str,
    protocol: Protocol,
    cases: Sequence[Case],
    scorer: Scorer,
    encoder: Encoder | None,
    tick: Callable[[int], None],
) -> list[Row]:
    """The rows of a baseline, at the moments at which an edit would be scored by the protocol."""
    rows: list[Row] = []
    if protocol.kind == "single":
        alone = name if name == UNEDITED else IN_PROMPT  # of one fact the nearest is that one
        rows += scorer.prefaced(cases, "single", 1, preface(alone, cases, None))
        tick(len(cases))
    elif protocol.kind == "batch":
        for start in range(0, len(cases) - protocol.size + 1, protocol.size):
            some = cases[start : start + protocol.size]
            rows += scorer.prefaced(some, "batch", protocol.size, preface(name, some, encoder))
            tick(len(some))
    else:
        for moment in moments(protocol, cases):
            before = preface(name, cases[: moment.number], encoder)
            for phase, some in moment.scored:
                rows += scorer.prefaced(some, phase, moment.number, before)
            tick(len(moment.new))
    return rows


def described(name: str, encoder: Encoder | None) -> Mapping[str, Any]:
    """What made the rows, as a patch says it of an edit."""
    found = {"name": name, "distribution": "editcore-bench", "version": version("editcore-bench"), "hparams": {}}
    return found if encoder is None else {**found, "hparams": {"encoder": encoder.name}}
