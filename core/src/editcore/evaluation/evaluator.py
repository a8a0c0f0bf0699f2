"""The built-in implementation of `editcore_evaluate`: runs the registered metrics by name."""

from collections.abc import Sequence
from typing import Any

from editcore_hooks import Case, Report, hookimpl


class Evaluator:
    """Scores with the metrics that are registered; a name nobody owns is refused by the registry."""

    @hookimpl
    def editcore_evaluate(self, session: Any, cases: Sequence[Case], metrics: Sequence[str]) -> list[Report]:
        return [session.registry.metric(name)().score(session, cases) for name in metrics]
