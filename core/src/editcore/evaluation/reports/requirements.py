"""`--require pref.es@1>=0.9`: a figure that must be reached."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen

from editcore_hooks import Report, RequirementNotMetError, UsageError

_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_SHAPE: Final = re.compile(r"\s*((?:[A-Za-z0-9][\w.-]*:)?[a-z][\w.]*@[\w.]+)\s*(>=|<=|>|<)\s*([-+.\deE]+)\s*")


@frozen
class Requirement:
    metric: str
    comparison: str
    bound: float

    def met_by(self, value: float) -> bool:
        return _COMPARE[self.comparison](value, self.bound)

    def __str__(self) -> str:
        return f"{self.metric}{self.comparison}{self.bound:g}"


def parse_requirement(text: str) -> Requirement:
    """Parse `METRIC>=NUMBER`. Raises `UsageError`."""
    match = _SHAPE.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        return Requirement(match[1], match[2], float(match[3]))
    except ValueError:
        hint = "write it like 'pref.es@1>=0.9'"
        raise UsageError(f"--require {text!r} is not a metric, a comparison and a number", hint=hint) from None


def check(requirements: Sequence[Requirement], reports: Sequence[Report]) -> None:
    """Raises `RequirementNotMetError` naming each figure that was not reached."""
    values = {report.metric: report.value for report in reports}
    missed = [
        f"{r} is required, but it is {values[r.metric]:.3g}" for r in requirements if not r.met_by(values[r.metric])
    ]
    if missed:
        raise RequirementNotMetError(
            f"{'; '.join(missed)}. The patch was not written",
            hint="choose other settings with --set, or a lower bound with --require",
        )
