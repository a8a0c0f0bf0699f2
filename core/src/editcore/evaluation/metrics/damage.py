"""Damage to text that no edit is about: passages of our own, the same for every model, or those given to a session.

A row of given passages names the sha256 of their file under `neutral`: figures of other text are other figures.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final, Self

from editcore.evaluation.engine.dialogue import DialogueMetric, Row
from editcore.evaluation.engine.questions import Neutral, Question, Read
from editcore.evaluation.metrics.perplexity import ratio
from editcore.evaluation.metrics.rows import judged
from editcore.text.neutral import NEUTRAL, OURS, NeutralText
from editcore_hooks import Case, Session
from editcore_hooks.plugins import Better


class Damage(DialogueMetric):
    share, of_model = False, True
    better: ClassVar[Better] = "lower"
    text: NeutralText = OURS

    @classmethod
    def of(cls, session: Session) -> Self:
        metric = cls()
        metric.text = session.neutral
        return metric

    def questions(self, case: Case) -> Sequence[Question]:
        return [Neutral(text) for text in self.text.passages]

    def judgement(self, case: Case, answers: Sequence[Any]) -> list[Row]:
        named = {} if self.text.sha256 is None else {"neutral": self.text.sha256}
        return [
            judged(case, NEUTRAL, text, None, (read,), self.judge, **named)
            for text, read in zip(self.text.passages, answers, strict=True)
        ]

    def judge(self, read: Read) -> tuple[float, dict[str, Any]]:
        raise NotImplementedError


class DamagePerplexity(Damage):
    name: ClassVar[str] = "damage.ppl@1"
    summary = "perplexity of neutral text over that of the unedited model; 1 is no damage"
    better = "near 1"

    def judge(self, read: Read) -> tuple[float, dict[str, Any]]:
        perplexities = {"ppl": ratio(read.nll), "ppl_unedited": ratio(read.nll_unedited)}
        return ratio(read.nll - read.nll_unedited), perplexities


class DamageDivergence(Damage):
    name: ClassVar[str] = "damage.kl@1"
    summary = "divergence from the unedited model on neutral text, in nats a token"

    def judge(self, read: Read) -> tuple[float, dict[str, Any]]:
        return read.kl, {}


METRICS: Final = [DamagePerplexity, DamageDivergence]
