"""Generated text after the prompts of rows, before and after the edit, for people to read."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from editcore.evaluation.engine.dialogue import Answerer, Row
from editcore.evaluation.engine.questions import write
from editcore.text.neutral import NEUTRAL
from editcore_hooks import Case, Report


def with_answers(reports: Sequence[Report], cases: Sequence[Case], respondent: Answerer, tokens: int) -> list[Report]:
    """Reports whose rows have `answer_before` and `answer_after`, except those of neutral text, and of prompts that the
    model is too short for."""
    rows = [report.rows for report in reports]
    return [
        evolve(report, rows=tuple(own))
        for report, own in zip(reports, rows_with_answers(rows, cases, respondent, tokens), strict=True)
    ]


def rows_with_answers(
    groups: Sequence[Sequence[Mapping[str, Any]]], cases: Sequence[Case], respondent: Answerer, tokens: int
) -> list[list[Row]]:
    number = {case.request.id: i for i, case in enumerate(cases)}
    asked: dict[tuple[int, str], None] = {}
    for rows in groups:
        prompts = [row for row in rows if row["case"] in number and row["about"] != NEUTRAL]
        asked |= dict.fromkeys((number[row["case"]], row["prompt"]) for row in prompts)
    before = [(i, write(cases[i], prompt, tokens, unedited=True)) for i, prompt in asked]
    after = [(i, write(cases[i], prompt, tokens)) for i, prompt in asked]
    texts = respondent.answer([*before, *after], True)
    pairs = zip(texts[: len(asked)], texts[len(asked) :], strict=True)
    found = {
        key: {"answer_before": old, "answer_after": new}
        for key, (old, new) in zip(asked, pairs, strict=True)
        if isinstance(old, str) and isinstance(new, str)
    }
    return [[{**row, **found.get((number.get(row["case"], -1), row["prompt"]), {})} for row in rows] for rows in groups]
