"""Needs of a metric: each in words, with a test whether a case meets it."""

from collections.abc import Callable
from typing import Final

from attrs import field, frozen

from editcore_hooks.requests import Case


@frozen
class Need:
    """Something that a case must have for a metric, such as "a rephrase of the prompt", and its test."""

    words: str
    met: Callable[[Case], bool] = field(repr=False, eq=False)


TRUE_TARGET: Final = Need(
    "a request with a true target", lambda case: any(request.target_true is not None for request in case.requests)
)
REPHRASE: Final = Need("a rephrase of the prompt", lambda case: bool(case.rephrases))
LOCALITY: Final = Need("a locality probe", lambda case: any(case.locality.values()))
LOCALITY_ANSWER: Final = Need(
    "a locality probe with an answer", lambda case: any(one.targets for some in case.locality.values() for one in some)
)
NEIGHBOUR: Final = Need(
    "a neighbour probe with an answer", lambda case: any(one.targets for one in case.locality.get("neighbour", ()))
)
PORTABILITY_ANSWER: Final = Need(
    "a portability probe with an answer",
    lambda case: any(one.targets for some in case.portability.values() for one in some),
)
