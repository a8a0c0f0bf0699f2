"""Whether what the model writes, greedily and with nothing given to it, is or contains the new target."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from editcore.evaluation.asking import AskingMetric, Conversation
from editcore.evaluation.questions import write
from editcore.evaluation.rows import Place, prompts, row
from editcore.evaluation.wording import begins, contains
from editcore_hooks import Case

TOKENS: Final = 24
"""New tokens; more where an accepted answer is longer."""


class Generated(AskingMetric):
    about: ClassVar[Place] = "edit"
    right: ClassVar[Callable[[str, Sequence[str]], bool]]

    def ask(self, case: Case) -> Conversation:
        asked, target = prompts(case, self.about), case.request.target_new
        texts = yield [write(case, prompt, TOKENS, (target,)) for prompt in asked]
        return [
            row(case, self.about, prompt, target, float(type(self).right(text, (target,))), written=text)
            for prompt, text in zip(asked, texts, strict=True)
        ]


class GeneratedExact(Generated):
    name = "gen.exact@1"
    summary = "share of edits after whose prompt the model writes the new target first"
    right = staticmethod(begins)


class GeneratedContains(Generated):
    name = "gen.contains@1"
    summary = f"share of edits after whose prompt the new target is in the next {TOKENS} tokens"
    right = staticmethod(contains)


class GeneratedExactRephrase(GeneratedExact):
    name = "gen.exact.rephrase@1"
    summary = "gen.exact@1 on paraphrases of the prompt"
    about = "rephrase"


class GeneratedContainsRephrase(GeneratedContains):
    name = "gen.contains.rephrase@1"
    summary = "gen.contains@1 on paraphrases of the prompt"
    about = "rephrase"


METRICS: Final = [GeneratedExact, GeneratedContains, GeneratedExactRephrase, GeneratedContainsRephrase]
