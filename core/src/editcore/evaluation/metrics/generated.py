"""Does the model's own greedy answer equal or contain the new target, by any of its names?"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Final

from editcore.evaluation.engine.dialogue import DialogueMetric, Row
from editcore.evaluation.engine.questions import Question, write
from editcore.evaluation.metrics.rows import Place, facts, judged
from editcore.text.wording import begins, contains
from editcore_hooks import Case, EditRequest
from editcore_hooks.needs import REPHRASE

TOKENS: Final = 24
"""New tokens; more where an accepted answer is longer."""


class Generated(DialogueMetric):
    about: ClassVar[Place] = "edit"
    anywhere: ClassVar[bool] = False

    def questions(self, case: Case) -> Sequence[Question]:
        return [write(request, prompt, TOKENS, answers) for prompt, request, answers in self.asked(case)]

    def asked(self, case: Case) -> list[tuple[str, EditRequest, tuple[str, ...]]]:
        """Prompt, request and what counts as its answer; the other names are those of the first fact alone, because of
        facts written together none are known."""
        return [
            (prompt, one, (one.target_new, *(case.accepted if one is case.request else ())))
            for prompt, one in facts(case, self.about)
        ]

    def judgement(self, case: Case, answers: Sequence[Any]) -> list[Row]:
        return [
            judged(case, self.about, prompt, request.target_new, (text,), partial(self.judge, names))
            for (prompt, request, names), text in zip(self.asked(case), answers, strict=True)
        ]

    def judge(self, answers: Sequence[str], text: str) -> tuple[float, dict[str, Any]]:
        good = (contains if self.anywhere else begins)(text, answers)
        return float(good), {"written": text}


class GeneratedExact(Generated):
    name = "gen.exact@2"
    summary = "share of edits after whose prompt the model writes the new target first"


class GeneratedContains(Generated):
    name = "gen.contains@2"
    summary = f"share of edits after whose prompt the new target is in the next {TOKENS} tokens"
    usual = True
    anywhere = True


class GeneratedExactRephrase(GeneratedExact):
    name = "gen.exact.rephrase@2"
    summary = "gen.exact@2 on paraphrases of the prompt"
    about = "rephrase"
    needs = (REPHRASE,)
    usual = False


class GeneratedContainsRephrase(GeneratedContains):
    name = "gen.contains.rephrase@2"
    summary = "gen.contains@2 on paraphrases of the prompt"
    about = "rephrase"
    needs = (REPHRASE,)
    usual = False


METRICS: Final = [GeneratedExact, GeneratedContains, GeneratedExactRephrase, GeneratedContainsRephrase]
