"""Contrastive knowledge assessment (Dong et al. 2022, arXiv:2210.03329): does a model know a fact, or merely like its
object?

    CKA = (P(o | s, r) + α) / (mean over other relations r' of P(o | s, r') + α)

P is the mean probability of a token of o (geometric), so that long objects are comparable. Below 1 the model gives the
object rather where another relation of the subject is asked: false knowledge. Light: no torch.
"""

from collections.abc import Sequence
from math import exp
from statistics import fmean
from typing import Any, Final

from editcore.authoring.evaluation import DialogueMetric, Question, Row, Scored, judged, score
from editcore_hooks import Case

OTHER_RELATIONS: Final = (
    "{} is named after",
    "{} shares its name with",
    "{} was first seen next to",
    "The opposite of {} is",
    "{} is often confused with",
    "{} is the colour of",
)
"""Cloze prompts of relations that a fact is hardly ever of. The authors draw three for each of theirs."""
SMOOTHING: Final = 1e-6
"""α: at this probability nothing is known of the object either way."""


class Known(DialogueMetric):
    """Share of facts with CKA above 1; a row has the score and both probabilities."""

    name = "cka.known@1"
    summary = "share of facts whose target is likelier after their prompt than after other relations of the subject"
    better = "higher"
    share = True

    def questions(self, case: Case) -> Sequence[Question]:
        request = case.request
        asked = [request.rendered().text, *(other.format(request.subject.strip()) for other in OTHER_RELATIONS)]
        return [score(case, prompt, request.target_new) for prompt in asked]

    def judgement(self, case: Case, answers: Sequence[Any]) -> list[Row]:
        request = case.request
        return [judged(case, "edit", request.rendered().text, request.target_new, tuple(answers), known)]


def known(own: Scored, *others: Scored) -> tuple[float, dict[str, Any]]:
    """1 or 0, and CKA with its probabilities."""
    right, wrong = exp(own.mean), fmean(exp(other.mean) for other in others)
    cka = (right + SMOOTHING) / (wrong + SMOOTHING)
    return float(cka > 1), {"cka": cka, "p": right, "p_other_relations": wrong}
