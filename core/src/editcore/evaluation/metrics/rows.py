"""Prompts of a case with what they are about, and the rows that metrics make of them."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from editcore.evaluation.engine.dialogue import Row
from editcore.evaluation.engine.questions import Unanswered
from editcore_hooks import Case, EditRequest, Probe

Place = Literal["edit", "rephrase"]


def facts(case: Case, about: Place) -> list[tuple[str, EditRequest]]:
    """The prompts of the case's facts, or the rephrases of its first, each with the request."""
    if about == "edit":
        return [(request.rendered().text, request) for request in case.requests]
    return [(text, case.request) for text in case.rephrases]


def edit_prompt(case: Case) -> str:
    """The full prompt of the case's first request, with its subject."""
    return case.request.rendered().text


def probes(case: Case, group: Literal["locality", "portability"], facets: Sequence[str]) -> list[tuple[str, Probe]]:
    """The probes of some facets, each with the facet's name."""
    found = case.locality if group == "locality" else case.portability
    return [(facet, probe) for facet in facets for probe in found.get(facet, ())]


def row(case: Case, about: str, prompt: str, target: str | None, value: float | None, **more: Any) -> Row:
    """The keys of every row, and those that the metric adds."""
    return {"case": case.request.id, "about": about, "prompt": prompt, "target": target, "value": value, **more}


def judged(
    case: Case,
    about: str,
    prompt: str,
    target: str | None,
    answers: Sequence[Any],
    judge: Callable[..., tuple[float | None, dict[str, Any]]],
    **more: Any,
) -> Row:
    """The row of what `judge` makes of the answers, a value and what else is shown.

    `judge(*answers)` gets them in the order given, which is that of the questions. Where one could not be had it is not
    called: the row has no value, and says `why`.
    """
    missing = next((answer for answer in answers if isinstance(answer, Unanswered)), None)
    value, shown = judge(*answers) if missing is None else (None, {"why": missing.why})
    return row(case, about, prompt, target, value, **shown, **more)


def test_of(probe: Probe) -> dict[str, Any]:
    """The keys of a probe's row about its test."""
    return {"group": probe.group, "rule": probe.rule} if probe.group else {}
