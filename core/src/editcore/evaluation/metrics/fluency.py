"""Fluency as Meng et al. 2022 (ROME), section 3.4, measure it: the entropy of 2- and 3-grams of what is written.

It falls when a model repeats itself. Random words score high: read it beside a perplexity.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from math import log2
from typing import Any, Final

from editcore.evaluation.engine.dialogue import DialogueMetric, Row
from editcore.evaluation.engine.questions import Question, write
from editcore.evaluation.metrics.rows import edit_prompt, judged
from editcore.text.wording import words
from editcore_hooks import Case

TOKENS: Final = 100


class NgramEntropy(DialogueMetric):
    """Entropy of prompt and continuation together, in words and marks. Greedy, so that it can be repeated. The prompts
    are the case's prompts for generation, or else the edit's."""

    name = "fluency.ngram@2"
    summary = f"weighted entropy of 2- and 3-grams of the prompt and {TOKENS} tokens written after it, times 100"
    share = False
    better = "neither"  # random words have the highest entropy

    def prompts(self, case: Case) -> Sequence[str]:
        return case.generation or (edit_prompt(case),)

    def questions(self, case: Case) -> Sequence[Question]:
        return [write(case, prompt, TOKENS) for prompt in self.prompts(case)]

    def judgement(self, case: Case, answers: Sequence[Any]) -> list[Row]:
        return [
            judged(case, "generation", prompt, None, (text,), partial(_fluency, prompt))
            for prompt, text in zip(self.prompts(case), answers, strict=True)
        ]


def _fluency(prompt: str, text: str) -> tuple[float, dict[str, Any]]:
    return 100 * weighted_entropy(words(prompt + text)), {"written": text}


def weighted_entropy(units: Sequence[str]) -> float:
    """½ (⅔ H₂ + 4/3 H₃) in bits."""
    return (2 / 3 * _entropy(units, 2) + 4 / 3 * _entropy(units, 3)) / 2


def _entropy(units: Sequence[str], n: int) -> float:
    counts = Counter(zip(*(units[i:] for i in range(n)), strict=False))
    total = counts.total()
    return -sum(count / total * log2(count / total) for count in counts.values())
