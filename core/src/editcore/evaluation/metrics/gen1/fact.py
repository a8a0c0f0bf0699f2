"""The edited fact: is the new target what the model answers, is the old one gone, and does the answer end?

Formulas after the protocol WILD (arXiv:2502.11177), with G the greedy answer and Y the new target and its other names.
"""

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any, ClassVar, Final

from editcore.evaluation.engine.dialogue import Row
from editcore.evaluation.engine.questions import Answered, Question
from editcore.evaluation.metrics.gen1.asking import FORMS, Form, Gen1
from editcore.evaluation.metrics.preference import NO_TRUE
from editcore.evaluation.metrics.rows import Place, facts, judged
from editcore.text.answers import excess, is_answer, says
from editcore_hooks import Case, EditRequest
from editcore_hooks.needs import REPHRASE


class OfFact(Gen1):
    about: ClassVar[Place] = "edit"

    def questions(self, case: Case) -> Sequence[Question]:
        return [self.answer(request, prompt, names) for prompt, request, names in self.asked(case)]

    def asked(self, case: Case) -> list[tuple[str, EditRequest, tuple[str, ...]]]:
        """Prompt, request and Y; other names are known of the first fact alone."""
        return [
            (prompt, one, (one.target_new, *(case.accepted if one is case.request else ())))
            for prompt, one in facts(case, self.about)
        ]

    def judgement(self, case: Case, answers: Sequence[Any]) -> list[Row]:
        return [
            judged(case, self.about, prompt, request.target_new, (answer,), partial(self.judge, request, names))
            for (prompt, request, names), answer in zip(self.asked(case), answers, strict=True)
        ]

    def judge(
        self, request: EditRequest, names: Sequence[str], answer: Answered
    ) -> tuple[float | None, dict[str, Any]]:
        value = self.value(request, names, answer)
        shown: dict[str, Any] = {"written": answer.text, "stopped": answer.stopped}
        return value, shown if value is not None else {**shown, "why": NO_TRUE}

    def value(self, request: EditRequest, names: Sequence[str], answer: Answered) -> float | None:
        """None where the request has no true target to look for."""
        raise NotImplementedError


class Exact(OfFact):
    name = "gen1.em@1"
    summary = "share of edits whose answer, up to the end of its sentence, is the new target and nothing else"

    def value(self, request: EditRequest, names: Sequence[str], answer: Answered) -> float | None:
        return float(is_answer(answer.text, names))


class Contains(OfFact):
    name = "gen1.contains@1"
    summary = "share of edits whose answer has the new target in it"

    def value(self, request: EditRequest, names: Sequence[str], answer: Answered) -> float | None:
        return float(new_in(request, names, answer))


class OldContains(OfFact):
    name = "gen1.old_contains@1"
    summary = "share of edits whose answer has the old target in it"
    better = "lower"

    def value(self, request: EditRequest, names: Sequence[str], answer: Answered) -> float | None:
        return None if request.target_true is None else float(old_in(request, names, answer))


class Strict(OfFact):
    name = "gen1.strict@1"
    summary = "share of edits whose answer has the new target in it and not the old one"

    def value(self, request: EditRequest, names: Sequence[str], answer: Answered) -> float | None:
        return float(new_in(request, names, answer) and not old_in(request, names, answer))


class Stop(OfFact):
    name = "gen1.stop@1"
    summary = "share of answers that the model ends by itself"

    def value(self, request: EditRequest, names: Sequence[str], answer: Answered) -> float | None:
        return float(answer.stopped)


class Over(OfFact):
    name = "gen1.over@1"
    summary = "words of the answer beyond the new target's, as a multiple of these"
    share = False
    better = "neither"  # an answer that says nothing is the shortest

    def value(self, request: EditRequest, names: Sequence[str], answer: Answered) -> float | None:
        return excess(answer.text, request.target_new)


def new_in(request: EditRequest, names: Sequence[str], answer: Answered) -> bool:
    """A name in the subject does not count where the answer only repeats the subject."""
    return says(answer.text, names, (request.subject,))


def old_in(request: EditRequest, names: Sequence[str], answer: Answered) -> bool:
    """Where an old target is part of a new one, or of the subject, it does not count there: York in New York."""
    return request.target_true is not None and says(answer.text, (request.target_true,), (*names, request.subject))


def _variant(metric: type[OfFact], about: Place, form: Form) -> type[OfFact]:
    parts = (*((about,) if about != "edit" else ()), *((form,) if form != "usual" else ()))
    if not parts:
        return metric
    own = {
        "name": metric.name.replace("@", f".{'.'.join(parts)}@"),
        "summary": f"{metric.name}{' on paraphrases of the prompt' if about == 'rephrase' else ''}{FORMS[form]}",
        "about": about,
        "form": form,
        "needs": (REPHRASE,) if about == "rephrase" else (),
    }
    return type(f"{metric.__name__}_{'_'.join(parts)}", (metric,), own)


MEASURES: Final[tuple[type[OfFact], ...]] = (Exact, Contains, OldContains, Strict, Stop, Over)
_PLACES: Final[tuple[Place, ...]] = ("edit", "rephrase")
METRICS: Final = [_variant(metric, about, form) for about, form, metric in product(_PLACES, FORMS, MEASURES)]
