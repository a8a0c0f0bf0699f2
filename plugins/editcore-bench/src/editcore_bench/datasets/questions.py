"""Questions for statements: a statement that ends before its answer, with `{}` for the subject, asked as a question."""

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Final

from attrs import frozen

from editcore.authoring.settings import parse

_MARKS: Final = ("?", "？", "؟")


@frozen
class Relation:
    """Statements that `pattern` finds, except those that `but` finds, and two questions for them."""

    pattern: str
    ask: tuple[str, str]
    but: str | None = None

    def has(self, statement: str) -> bool:
        return bool(re.search(self.pattern, statement)) and not (self.but and re.search(self.but, statement))


@cache
def relations() -> tuple[Relation, ...]:
    text = files("editcore_bench.datasets").joinpath("questions.yaml").read_text("utf-8")
    rows = parse(text, "the questions")
    return tuple(Relation(row["pattern"], tuple(row["ask"]), row.get("but")) for row in rows)


@cache
def relation_of(statement: str) -> Relation | None:
    """The relation of a statement with `{}`; None where it may be several, or none that is known."""
    return next((relation for relation in relations() if relation.has(statement)), None)


def is_question(prompt: str) -> bool:
    return prompt.rstrip().endswith(_MARKS)


@frozen
class Statements:
    """Statements with `{}`, each with its two parts around the subject, the longest first."""

    parts: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, statements: Iterable[str]) -> "Statements":
        known = []
        for statement in dict.fromkeys(statements):
            before, mark, after = statement.partition("{}")
            if mark and relation_of(statement) is not None:
                known.append((statement, before, after))
        return cls(tuple(sorted(known, key=lambda part: -len(part[0]))))

    def question_of(self, prompt: str) -> str | None:
        """The question for a prompt that names its subject, by the longest statement that it fits."""
        for whole, before, after in self.parts:
            subject = prompt.removeprefix(before).removesuffix(after).strip()
            if prompt.startswith(before) and prompt.endswith(after) and subject and len(subject) < len(prompt):
                relation = relation_of(whole)
                assert relation is not None
                return relation.ask[0].replace("{}", subject)
        return None
