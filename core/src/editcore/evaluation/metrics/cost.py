"""Cost of an edit, from its patch: see `editcore.editing.cost` for how it is measured."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from editcore.evaluation.engine.dialogue import DialogueMetric, Row
from editcore.evaluation.engine.questions import Cost, Question
from editcore.evaluation.metrics.rows import edit_prompt, row
from editcore_hooks import Case


class Costs(DialogueMetric):
    share, of_patch = False, True
    better = "lower"
    field: ClassVar[str]

    def questions(self, case: Case) -> Sequence[Question]:
        return [Cost(case.request)]

    def judgement(self, case: Case, answers: Sequence[Any]) -> list[Row]:
        (cost,) = answers
        prompt = edit_prompt(case)
        value = None if cost is None else cost.get(self.field)
        if value is None:
            why = "no patch with this request is on the model" if cost is None else "it was not measured"
            return [row(case, "edit", prompt, case.request.target_new, None, why=why)]
        return [row(case, "edit", prompt, case.request.target_new, float(value), **cost)]


class Seconds(Costs):
    name = "cost.seconds@1"
    summary = "seconds an edit took, without what is computed once and kept"
    field = "seconds"


class PeakBytes(Costs):
    name = "cost.peak_bytes@1"
    summary = "most memory in use while the edit was computed, the model included"
    field = "peak_bytes"


METRICS: Final = [Seconds, PeakBytes]
