"""Whether what the model writes, greedily and with nothing given to it, is or contains the new target, by any name."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Final

from editcore.evaluation.engine.dialogue import Conversation, DialogueMetric
from editcore.evaluation.engine.questions import write
from editcore.evaluation.metrics.rows import Place, facts, judged
from editcore.text.wording import begins, contains
from editcore_hooks import Case

TOKENS: Final = 24
"""New tokens; more where an accepted answer is longer."""


class Generated(DialogueMetric):
    about: ClassVar[Place] = "edit"
    anywhere: ClassVar[bool] = False

    def ask(self, case: Case) -> Conversation:
        asked = facts(case, self.about)
        # the other names are those of the first fact: of facts written together none are known
        names = [(one.target_new, *(case.accepted if one is case.request else ())) for _, one in asked]
        texts = yield [
            write(request, prompt, TOKENS, answers) for (prompt, request), answers in zip(asked, names, strict=True)
        ]
        rows = []
        for (prompt, request), answers, text in zip(asked, names, texts, strict=True):
            judge = partial(self.judge, answers)
            rows.append(judged(case, self.about, prompt, request.target_new, (text,), judge))
        return rows

    def judge(self, answers: Sequence[str], text: str) -> tuple[float, dict[str, Any]]:
        good = (contains if self.anywhere else begins)(text, answers)
        return float(good), {"written": text}


class GeneratedExact(Generated):
    name = "gen.exact@2"
    summary = "share of edits after whose prompt the model writes the new target first"


class GeneratedContains(Generated):
    name = "gen.contains@2"
    summary = f"share of edits after whose prompt the new target is in the next {TOKENS} tokens"
    anywhere = True


class GeneratedExactRephrase(GeneratedExact):
    name = "gen.exact.rephrase@2"
    summary = "gen.exact@2 on paraphrases of the prompt"
    about = "rephrase"


class GeneratedContainsRephrase(GeneratedContains):
    name = "gen.contains.rephrase@2"
    summary = "gen.contains@2 on paraphrases of the prompt"
    about = "rephrase"


METRICS: Final = [GeneratedExact, GeneratedContains, GeneratedExactRephrase, GeneratedContainsRephrase]
