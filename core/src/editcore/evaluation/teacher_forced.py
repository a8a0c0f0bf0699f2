"""Accuracy of the new target's tokens when the model is given those before it (Zhang et al. 2024, KnowEdit).

It overstates what the model would write: a half-right answer is carried on by the right half.
"""

from typing import ClassVar, Final

from editcore.evaluation.asking import AskingMetric, Conversation
from editcore.evaluation.questions import Scored, score
from editcore.evaluation.rows import Place, prompts, row
from editcore_hooks import Case


class TeacherForced(AskingMetric):
    about: ClassVar[Place] = "edit"
    exact: ClassVar[bool] = False

    def ask(self, case: Case) -> Conversation:
        asked, target = prompts(case, self.about), case.request.target_new
        answers = yield [score(case, prompt, target) for prompt in asked]
        return [
            row(case, self.about, prompt, target, exact(answer) if self.exact else token_share(answer))
            for prompt, answer in zip(asked, answers, strict=True)
        ]


def token_share(answer: Scored) -> float:
    """Share of target tokens that are the likeliest."""
    return sum(answer.hits) / len(answer.hits)


def exact(answer: Scored) -> float:
    return float(all(answer.hits))


class TeacherForcedToken(TeacherForced):
    name = "tf.token@1"
    summary = "share of target tokens that are the arg-max, teacher-forced"


class TeacherForcedExact(TeacherForced):
    name = "tf.exact@1"
    summary = "share of edits with every target token the arg-max, teacher-forced"
    exact = True


class TeacherForcedTokenRephrase(TeacherForcedToken):
    name = "tf.token.rephrase@1"
    summary = "tf.token@1 on paraphrases of the prompt"
    about = "rephrase"


class TeacherForcedExactRephrase(TeacherForcedExact):
    name = "tf.exact.rephrase@1"
    summary = "tf.exact@1 on paraphrases of the prompt"
    about = "rephrase"


METRICS: Final = [TeacherForcedToken, TeacherForcedExact, TeacherForcedTokenRephrase, TeacherForcedExactRephrase]
