"""Conditions of a probe: it counts only if the unedited model's text answers each of them."""

from collections.abc import Generator, Sequence
from itertools import chain
from typing import Any, Final

from editcore.evaluation.engine.questions import Question, Unanswered, Write, write
from editcore.evaluation.metrics.generated import TOKENS
from editcore.text.wording import contains
from editcore_hooks import Case, Probe

UNMET: Final = "the unedited model does not meet a condition"


def met(case: Case, probes: Sequence[Probe]) -> Generator[Sequence[Question], Sequence[Any], list[bool]]:
    """The part of a conversation that asks the conditions of `probes`, and ends with whether those of each are met.

    Nothing is asked, and no round spent, where there are none.
    """
    asked = [said(case, condition, unedited=True) for probe in probes for condition in probe.conditions]
    texts = dict(zip(asked, (yield asked), strict=True)) if asked else {}
    return [
        all(_told(texts[said(case, condition, unedited=True)], condition) for condition in probe.conditions)
        for probe in probes
    ]


def said(case: Case, probe: Probe, *, unedited: bool = False) -> Write:
    """The continuation of a probe's prompt, long enough for any of its answers."""
    every = tuple(chain(probe.targets, *probe.also))
    return write(case, probe.prompt, TOKENS, every, unedited=unedited)


def _told(text: str | Unanswered, condition: Probe) -> bool:
    return isinstance(text, str) and names(text, condition)


def names(text: str, probe: Probe) -> bool:
    """Whether a text gives the probe's full answer."""
    return all(contains(text, answers) for answers in (probe.targets, *probe.also))
