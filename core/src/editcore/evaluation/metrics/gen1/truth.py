"""Does the model hold the new fact for true and the old one for false, also when it is asked the other way round?

After Built on Sand (arXiv:2510.00625): an edit that only binds an answer to a wording fails here.

    is it true that s r o*?   yes        is it false that s r o*?   no
    is it true that s r o?    no         is it false that s r o?    yes
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import regex

from editcore.evaluation.engine.dialogue import Row
from editcore.evaluation.engine.questions import Answer, Answered, Question
from editcore.evaluation.metrics.gen1.asking import Gen1, in_context
from editcore.evaluation.metrics.preference import NO_TRUE
from editcore.evaluation.metrics.rows import facts, judged, row
from editcore.models.tokens.spans import joined_target
from editcore_hooks import Case, EditRequest
from editcore_hooks.needs import TRUE_TARGET

_CELLS: Final = {"true_new": "yes", "false_new": "no", "true_old": "no", "false_old": "yes"}
"""What the question asks of which target, and the right answer."""
_QUESTIONS: Final = regex.compile(r"[?？؟]\s*$", regex.V1)
_SAID: Final = regex.compile(r"\b(yes|no)\b", regex.I | regex.V1 | regex.WORD)


class Check(Gen1):
    """A model without a chat template is asked in a QA context. The first yes or no of the answer counts."""

    name = "gen1.check@1"
    summary = "share of four questions whether the new and the old fact are true, or false, that are answered right"
    cells: ClassVar[Sequence[str]] = tuple(_CELLS)

    def asked(self, case: Case) -> list[tuple[str, EditRequest, str, str | None]]:
        """Cell, request, prompt and the target in question."""
        return [
            (cell, request, prompt, request.target_new if cell.endswith("new") else request.target_true)
            for prompt, request in facts(case, "edit")
            for cell in self.cells
        ]

    def questions(self, case: Case) -> Sequence[Question]:
        return [
            self._question(request, claim(cell, request, prompt, target))
            for cell, request, prompt, target in self.asked(case)
            if target is not None
        ]

    def _question(self, request: EditRequest, text: str) -> Answer:
        in_chat = self.template(request) is not None
        return self.answer(request, text if in_chat else in_context(text), tuple(_CELLS.values()))

    def judgement(self, case: Case, answers: Sequence[Any]) -> list[Row]:
        given = iter(answers)
        rows = []
        for cell, request, prompt, target in self.asked(case):
            if target is None:
                rows.append(row(case, "edit", prompt, _CELLS[cell], None, cell=cell, why=NO_TRUE))
            else:
                text = claim(cell, request, prompt, target)
                rows.append(judged(case, "edit", text, _CELLS[cell], (next(given),), _judge(_CELLS[cell]), cell=cell))
        return rows


def claim(cell: str, request: EditRequest, prompt: str, target: str) -> str:
    """The question of a cell about one target. A prompt that is a question is asked about with its answer."""
    truth = cell.partition("_")[0]
    if _QUESTIONS.search(prompt):
        return f'Is it {truth} that the answer to "{prompt.strip()}" is "{target.strip()}"? Answer yes or no.'
    said = prompt + joined_target(prompt, target, request.target_prefix)
    return f'Is it {truth} that "{said.strip()}"? Answer yes or no.'


def _judge(right: str) -> Any:
    def judge(answer: Answered) -> tuple[float, dict[str, Any]]:
        said = _SAID.search(answer.text)
        return float(said is not None and said[1].lower() == right), {"written": answer.text}

    return judge


def _of(cell: str) -> type[Check]:
    truth, _, which = cell.partition("_")
    own = {
        "name": f"gen1.check.{cell}@1",
        "summary": f"share of edits where the model says {_CELLS[cell]} when asked if the {which} fact is {truth}",
        "cells": (cell,),
        "needs": (TRUE_TARGET,) if which == "old" else (),
    }
    return type(f"Check_{cell}", (Check,), own)


METRICS: Final[list[type[Check]]] = [Check, *map(_of, _CELLS)]
