"""Facts that a model is tuned on when nobody gives any: common ones that it states, else facts in what it writes."""

from typing import TYPE_CHECKING, Final

from attrs import frozen

from editcore.tuning.common import common_cases, common_sentences
from editcore.tuning.facts import sampled_cases
from editcore_hooks import Case, UsageError

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

FEWEST: Final = 8
ENOUGH: Final = 16
"""Common facts that are worth more than any number of sampled ones: they are true, and asked for in plain words."""


@frozen
class Facts:
    """Cases to try edits on. `text` are plain sentences for contexts and drift; none: the model writes them."""

    cases: tuple[Case, ...]
    source: str
    text: tuple[str, ...] = ()


def own_facts(session: "OpenSession", n: int) -> Facts:
    """At most `n` facts that the model states, drawn by the session's seed.

    Sampling text is slow on a large model, so it is for models that state few of the common facts. Raises `UsageError`
    when the model shows too few facts.
    """
    if session.encoder_decoder:
        raise UsageError("a model with an encoder writes no text by itself")
    common = common_cases(session, n)
    if len(common) >= min(n, ENOUGH):
        return Facts(tuple(common), "common facts that the model states", common_sentences())
    sampled = sampled_cases(session, n)
    fewest = min(n, FEWEST)
    if len(sampled) < fewest:
        raise UsageError(
            f"the model states only {len(sampled)} facts on which an edit can be tried, and tuning needs {fewest}"
        )
    return Facts(tuple(sampled), "of the model itself")
