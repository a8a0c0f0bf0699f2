"""Changed answers of a model: its continuation of every prompt of some cases, before and after."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from editcore.models.running.generation import generate
from editcore.models.tokens.spans import encode_prompt
from editcore_hooks import Case

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession


@frozen
class Question:
    """A prompt of a case; `about` is `edit`, `rephrase`, or the facet of a probe."""

    case: str
    about: str
    prompt: str


@frozen
class AnswerDifference:
    """A prompt to which the greedy continuations `a` and `b` differ."""

    case: str
    about: str
    prompt: str
    a: str
    b: str


def questions(cases: Sequence[Case]) -> list[tuple[Question, Case]]:
    """The prompt of each case, its rephrases and its probes."""
    asked = []
    for case in cases:
        prompts = [("edit", case.request.rendered().text), *(("rephrase", text) for text in case.rephrases)]
        for group in (case.locality, case.portability):
            prompts += [(facet, probe.prompt) for facet, probes in group.items() for probe in probes]
        asked += [(Question(case.request.id, about, prompt), case) for about, prompt in prompts]
    return asked


def answers(session: "OpenSession", cases: Sequence[Case], max_new_tokens: int) -> list[str]:
    """The greedy continuation of each of `questions(cases)` on the current model, with chat templates as asked for."""
    ids = [
        encode_prompt(
            session.tokenizer,
            question.prompt,
            template=case.request.template,
            encoder_decoder=session.encoder_decoder,
        ).prompt_ids
        for question, case in questions(cases)
    ]
    return generate(session.model, session.tokenizer, ids, max_new_tokens)


def answer_differences(cases: Sequence[Case], a: Sequence[str], b: Sequence[str]) -> list[AnswerDifference]:
    """The questions whose two answers differ, which `answers` gave."""
    return [
        AnswerDifference(question.case, question.about, question.prompt, one, two)
        for (question, _), one, two in zip(questions(cases), a, b, strict=True)
        if one != two
    ]
