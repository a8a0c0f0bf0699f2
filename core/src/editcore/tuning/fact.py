"""A fact that a model states: words, an answer of which it is sure, and the subject on which that hangs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

Words = tuple[str, ...]


@frozen
class Fact:
    """A prompt, and the answer of which the model is sure; the subject is the words from `start` to `end`."""

    words: Words
    answer: str
    start: int
    end: int
    reworded: tuple[str, ...] = ()
    """Other prompts about the subject that the model completes with the same answer."""

    @property
    def subject(self) -> tuple[str, ...]:
        return self.words[self.start : self.end]

    @property
    def prompt(self) -> str:
        return " ".join(self.words)

    def about(self, subject: Sequence[str]) -> str:
        return " ".join([*self.words[: self.start], *subject, *self.words[self.end :]])


def answer_scores(session: "OpenSession", asked: Sequence[tuple[str, str]], *, total: bool = False) -> list[float]:
    """Log-probability of answers after prompts, a token or in all."""
    scored = session.score_targets([(prompt, answer, None, "auto") for prompt, answer in asked])
    return [score.sum if total else score.mean for score in scored]
