"""Data of the page's case browser: every case of a cell with its prompts, the texts before and after, the scores."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from editcore.authoring.files import short
from editcore_bench.report.figures import CellFigures, is_share
from editcore_bench.report.words import good_side, moment_text
from editcore_bench.runs.folder import RunFolder
from editcore_hooks import render


def browser_data(folder: RunFolder, cells: Sequence[CellFigures], limit: int) -> dict[str, Any]:
    """Cells, and at most `limit` cases of each, as JSON values. `shares` are metrics a value below 1 of which fails."""
    metrics: list[str] = folder.manifest()["identity"]["spec"]["metrics"]
    return {
        "cells": [
            {
                "model": one.cell.model,
                "dataset": one.cell.dataset.label,
                "method": one.cell.method.label,
                "protocol": one.cell.protocol.label,
                "seed": one.cell.seed,
            }
            for one in cells
        ],
        "metrics": metrics,
        "shares": [metric for metric in metrics if is_share(metric) and good_side(metric) == "higher"],
        "cases": [case for number, one in enumerate(cells) for case in _cases(folder, number, one, limit)],
    }


def for_script(value: Any) -> str:
    """JSON that can stand in a script element: no text in it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _cases(folder: RunFolder, number: int, cells: CellFigures, limit: int) -> Iterator[dict[str, Any]]:
    requests = folder.cases(cells.cell.dataset.label)
    patches = {case: edit["patch"] for edit in cells.record.edits for case in edit["cases"]}
    by_case: dict[str, list[Mapping[str, Any]]] = {}
    for row in folder.rows(cells.cell):
        if row["case"] in requests:
            by_case.setdefault(row["case"], []).append(row)
    for case, rows in list(by_case.items())[:limit]:
        request = requests[case]
        yield {
            "cell": number,
            "id": case,
            "prompt": render(request["prompt"], request["subject"]).text,
            "new": request["target_new"],
            "true": request.get("target_true"),
            "patch": short(patches[case]) if case in patches else None,  # a baseline has none
            "tests": _tests(cells, rows),
        }


def _tests(cells: CellFigures, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one prompt at one moment put together: the texts once, a value for each metric."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    asked = {row["metric"] for row in rows}
    for row in rows:
        if row.get("part") in asked:  # what a score is made of is there by its own name
            continue
        key = (row["phase"], row["edits"], row["about"], row["prompt"])
        test = found.setdefault(
            key,
            {
                "when": _moment(cells, row),
                "about": row["about"],
                "prompt": row["prompt"],
                "target": row["target"],
                "before": row.get("answer_before"),
                "after": row.get("answer_after"),
                "values": [],
            },
        )
        for place, name in (("before", "answer_before"), ("after", "answer_after")):
            if test[place] is None:
                test[place] = row.get(name)
        test["values"].append([row["metric"], row["value"], row.get("why")])
    return list(found.values())


def _moment(cells: CellFigures, row: Mapping[str, Any]) -> str:
    words = moment_text(cells, row["phase"])
    return f"{words}, {row['edits']} on" if cells.cell.protocol.kind == "sequential" else words
