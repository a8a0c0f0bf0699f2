"""Prompts of a case with what they are about, and the rows that metrics make of them."""

from collections.abc import Sequence
from typing import Any, Literal

from editcore.evaluation.asking import Row
from editcore_hooks import Case, Probe

Place = Literal["edit", "rephrase"]


def prompts(case: Case, about: Place) -> Sequence[str]:
    """The prompt of the edit, or its rephrases."""
    return (case.request.rendered().text,) if about == "edit" else case.rephrases


def probes(case: Case, group: Literal["locality", "portability"], facets: Sequence[str]) -> list[tuple[str, Probe]]:
    """The probes of some facets, each with the facet's name."""
    found = case.locality if group == "locality" else case.portability
    return [(facet, probe) for facet in facets for probe in found.get(facet, ())]


def row(case: Case, about: str, prompt: str, target: str | None, value: float | None, **more: Any) -> Row:
    """What every row has, and what the metric adds."""
    return {"case": case.request.id, "about": about, "prompt": prompt, "target": target, "value": value, **more}
