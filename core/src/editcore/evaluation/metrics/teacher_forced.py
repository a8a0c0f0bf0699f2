"""Accuracy of the new target's tokens when the model is given those before it (Zhang et al. 2024, KnowEdit).

It overstates what the model would write: a half-right answer is carried on by the right half.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from editcore.evaluation.engine.dialogue import DialogueMetric, Row
from editcore.evaluation.engine.questions import Question, Scored, score
from editcore.evaluation.metrics.rows import Place, facts, judged
from editcore_hooks import Case
from editcore_hooks.needs import REPHRASE


class TeacherForced(DialogueMetric):
    about: ClassVar[Place] = "edit"
    exact: ClassVar[bool] = False

    def questions(self, case: Case) -> Sequence[Question]:
        return [score(request, prompt, request.target_new) for prompt, request in facts(case, self.about)]

    def judgement(self, case: Case, answers: Sequence[Any]) -> list[Row]:
        rate = exact if self.exact else token_share
        return [
            judged(case, self.about, prompt, request.target_new, (answer,), lambda answer: (rate(answer), {}))
            for (prompt, request), answer in zip(facts(case, self.about), answers, strict=True)
        ]


def token_share(answer: Scored) -> float:
    """Share of target tokens that are the likeliest."""
    return sum(answer.hits) / len(answer.hits)


def best(*answers: Scored) -> tuple[float, dict[str, Any]]:
    """The token share of the answer that fares best, and nothing to show besides."""
    return max(map(token_share, answers)), {}


def exact(answer: Scored) -> float:
    return float(all(answer.hits))


class TeacherForcedToken(TeacherForced):
    name = "tf.token@1"
    summary = "share of target tokens that are the arg-max, teacher-forced"
    usual = True


class TeacherForcedExact(TeacherForced):
    name = "tf.exact@1"
    summary = "share of edits with every target token the arg-max, teacher-forced"
    usual = True
    exact = True


class TeacherForcedTokenRephrase(TeacherForcedToken):
    name = "tf.token.rephrase@1"
    summary = "tf.token@1 on paraphrases of the prompt"
    about = "rephrase"
    needs = (REPHRASE,)
    usual = False


class TeacherForcedExactRephrase(TeacherForcedExact):
    name = "tf.exact.rephrase@1"
    summary = "tf.exact@1 on paraphrases of the prompt"
    about = "rephrase"
    needs = (REPHRASE,)
    usual = False


METRICS: Final = [TeacherForcedToken, TeacherForcedExact, TeacherForcedTokenRephrase, TeacherForcedExactRephrase]
