"""Damage to text that no edit is about: passages of our own, the same for every model."""

from typing import Final

from editcore.evaluation.asking import AskingMetric, Conversation
from editcore.evaluation.neutral import NEUTRAL, PASSAGES
from editcore.evaluation.perplexity import ratio
from editcore.evaluation.questions import Neutral
from editcore.evaluation.rows import row
from editcore_hooks import Case


class DamagePerplexity(AskingMetric):
    name = "damage.ppl@1"
    summary = "perplexity of neutral text over that of the unedited model; 1 is no damage"
    share, of_model = False, True

    def ask(self, case: Case) -> Conversation:
        answers = yield [Neutral(text) for text in PASSAGES]
        return [
            row(
                case,
                NEUTRAL,
                text,
                None,
                ratio(read.nll - read.nll_unedited),
                ppl=ratio(read.nll),
                ppl_unedited=ratio(read.nll_unedited),
            )
            for text, read in zip(PASSAGES, answers, strict=True)
        ]


class DamageDivergence(AskingMetric):
    name = "damage.kl@1"
    summary = "divergence from the unedited model on neutral text, in nats a token"
    share, of_model = False, True

    def ask(self, case: Case) -> Conversation:
        answers = yield [Neutral(text) for text in PASSAGES]
        return [row(case, NEUTRAL, text, None, read.kl) for text, read in zip(PASSAGES, answers, strict=True)]


METRICS: Final = [DamagePerplexity, DamageDivergence]
