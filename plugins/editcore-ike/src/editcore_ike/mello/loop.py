"""The loop of MeLLo (Zhong et al. 2023, arXiv:2305.14795), whoever writes and whatever retrieves. Light: no torch.

The model writes a subquestion and its answer. The edited fact nearest to the subquestion is put after them. The model
says whether it contradicts, gives the intermediate answer, and goes on, until it writes the final answer.
"""

from collections.abc import Callable
from typing import Final

from attrs import frozen

QUESTION: Final = "Question:"
SUBQUESTION: Final = "Subquestion:"
GENERATED: Final = "Generated answer:"
RETRIEVED: Final = "Retrieved fact:"
INTERMEDIATE: Final = "so the intermediate answer is:"
FINAL: Final = "Final answer:"
NONE: Final = "none"
"""What stands for a fact where none is near enough."""


@frozen
class Hop:
    """One step. `fact` is None where none was near enough, `intermediate` where the model gave no answer after it."""

    subquestion: str
    generated: str | None
    fact: str | None
    intermediate: str | None = None


@frozen
class Answer:
    """`text` is None where the model came to no final answer."""

    text: str | None
    hops: tuple[Hop, ...]


def answer(
    question: str,
    write: Callable[[str], str],
    retrieve: Callable[[str], str | None],
    demonstrations: str,
    most: int,
) -> Answer:
    """Ask in at most `most` hops. `write` continues a text; what it writes from "Retrieved fact:" on is not used."""
    text, hops = f"{demonstrations}{QUESTION} {question.strip()}\n", list[Hop]()
    for left in reversed(range(most + 1)):
        # what comes after the fact is ours to find, and a new question is the model's next demonstration
        new = write(text).partition(RETRIEVED)[0].partition(f"\n{QUESTION}")[0]
        if hops:
            last = hops.pop()
            hops.append(Hop(last.subquestion, last.generated, last.fact, _line(new, INTERMEDIATE)))
        if FINAL in new:
            return Answer(_line(new, FINAL), tuple(hops))
        subquestion = _line(new, SUBQUESTION)
        if subquestion is None or not left:
            break
        fact = retrieve(subquestion)
        hops.append(Hop(subquestion, _line(new, GENERATED), fact))
        text += f"{new.rstrip()}\n{RETRIEVED} {fact or NONE}\n"
    return Answer(None, tuple(hops))


def _line(text: str, label: str) -> str | None:
    """What stands after the last `label`, on its line."""
    _, found, rest = text.rpartition(label)
    return (rest.partition("\n")[0].strip() or None) if found else None
