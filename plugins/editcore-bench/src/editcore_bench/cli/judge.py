"""`editcore bench judge`."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from editcore.authoring.commands import Output, with_output
from editcore_hooks import UsageError


@click.command()
@click.argument("run")
@click.option("--url", required=True, metavar="URL", help="Base address of an OpenAI-compatible endpoint.")
@click.option("--model", required=True, metavar="NAME", help="Name of the judge at the endpoint.")
@click.option("--key-variable", metavar="NAME", help="Environment variable that holds the key of the endpoint.")
@click.option("--n", type=click.IntRange(1), default=200, show_default=True, help="Most answers graded in a cell.")
@with_output
def judge(out: Output, run: str, url: str, model: str, key_variable: str | None, n: int) -> None:
    """Let a language model grade the answers of the run folder RUN, and write judge.json into it.

    The run needs the metric gen1.em@1. The file names the judge, the date and the hash of its prompt.
    """
    from editcore.authoring.files import write_atomically
    from editcore_bench.judging import JUDGED, Judge, graded, prompt_sha256, sampled
    from editcore_bench.runs.folder import RunFolder

    grader = Judge(url, model, _key(key_variable))
    folder = RunFolder.open(Path(run))
    chosen = {record.cell.label: sampled(list(folder.rows(record.cell)), n) for record in folder.records()}
    chosen = {label: rows for label, rows in chosen.items() if rows}
    if not chosen:
        raise UsageError(f"{run} has no rows of {JUDGED}", hint=f"add {JUDGED} to the metrics of the spec")
    cells: dict[str, Any] = {}
    with out.progress("answers", sum(map(len, chosen.values()))) as progress:
        for label, rows in chosen.items():
            cells[label] = graded(grader, rows, progress.advance)
    about = {"judge": model, "date": f"{datetime.now(UTC):%Y-%m-%d}", "prompt_sha256": prompt_sha256()}
    found = {**about, "metric": JUDGED, "cells": cells}
    path = folder.path / "judge.json"
    write_atomically(path, [(json.dumps(found, ensure_ascii=False, indent=1) + "\n").encode()])
    if out.as_json:
        out.json(found)
        return
    out.table(["cell", "judged right", JUDGED, "agreement", "n"], [_line(label, one) for label, one in cells.items()])
    out.say(f"judged by {model} on {about['date']}; written: {path}")


def _line(label: str, one: dict[str, Any]) -> list[object]:
    value, low, high, exact, both = (f"{100 * one[key]:.1f}" for key in ("value", "low", "high", "exact", "agreement"))
    return [label, f"{value} ({low}-{high})", exact, both, one["n"]]


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    if not os.environ.get(variable):
        raise UsageError(f"the environment variable {variable} is empty", hint="set it, or leave out --key-variable")
    return os.environ[variable]
