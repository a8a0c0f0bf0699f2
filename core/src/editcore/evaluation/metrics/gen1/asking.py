"""How gen-1 asks: greedily, up to the end of the text or of the turn, in one of three forms of the prompt."""

from collections.abc import Sequence
from typing import ClassVar, Final, Literal, Self

from editcore.evaluation.engine.dialogue import DialogueMetric
from editcore.evaluation.engine.questions import Answer
from editcore_hooks import Case, ChatTemplate, EditRequest, Session

TOKENS: Final = 32
"""Most new tokens; more where an accepted answer is longer."""
Form = Literal["usual", "plain", "qa"]
FORMS: Final[dict[Form, str]] = {
    "usual": "",
    "plain": ", the prompt alone",
    "qa": ", the prompt as a question in a QA context",
}


class Gen1(DialogueMetric):
    """`usual` is the template of the request, or else the chat template of a model that has one, or else the prompt
    alone. The other two forms use no template."""

    form: ClassVar[Form] = "usual"
    chat: bool = False

    @classmethod
    def of(cls, session: Session) -> Self:
        metric = cls()
        metric.chat = bool(session.tokenizer.chat_template)
        return metric

    def answer(
        self, about: Case | EditRequest, prompt: str, covering: Sequence[str] = (), *, unedited: bool = False
    ) -> Answer:
        request = about.request if isinstance(about, Case) else about
        text = in_context(prompt) if self.form == "qa" else prompt
        template = self.template(request) if self.form == "usual" else None
        return Answer(text, TOKENS, template, unedited, tuple(covering))

    def template(self, request: EditRequest) -> ChatTemplate | None:
        return ChatTemplate() if request.template is None and self.chat else request.template


def in_context(question: str) -> str:
    """The question in a QA context."""
    return f"Answer the question.\n\nQ: {question}\nA:"
