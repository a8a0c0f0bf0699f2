"""`editcore eval`: what a model, with patches or without, answers to cases; a gate for use in CI."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from editcore.cli.early import require_chat_template
from editcore.cli.model import model_options, open_session
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import load_patches
from editcore.cli.places import require_writable
from editcore.cli.requests import read_file
from editcore.text.ids import short
from editcore_hooks import Report, RequirementNotMetError

if TYPE_CHECKING:
    from editcore.evaluation.reports.gate import Missed

SHOWN: Final = 10
"""Failing rows of a metric that are printed; --json and --rows have all."""


@click.command("eval")
@click.argument("model")
@click.option("--patch", "patches", multiple=True, metavar="PATCH", help="Apply this patch first, in memory.")
@click.option("--cases", metavar="FILE", required=True, help="File of cases (JSON lines); - reads standard input.")
@click.option(
    "--metrics", metavar="A,B", help="Ids of metrics, or gen-1. Default: the usual ones that the cases can answer."
)
@click.option(
    "--gate",
    metavar="FILE",
    help="YAML file of bounds by metric. If one is missed, show the failing rows and exit with 5.",
)
@click.option("--rows", metavar="FILE", help="File for all rows, one JSON object a line.")
@click.option(
    "--neutral", metavar="FILE", help="Text for measuring damage, one passage a line. Default: the text of editcore."
)
@click.option(
    "--answers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Tokens of generated text in each row, before and after.",
)
@model_options
@with_output
def evaluate(
    out: Output,
    model: str,
    patches: tuple[str, ...],
    cases: str,
    metrics: str | None,
    gate: str | None,
    rows: str | None,
    answers: int,
    neutral: str | None,
    **options: Any,
) -> None:
    """Score MODEL on cases, with its patches and with those given by --patch.

    Locality and portability compare with the model without any patch; its answers are cached.
    """
    from editcore.evaluation.metrics.usual import named_metrics, usual_metrics
    from editcore.evaluation.reports.gate import missed, read_gate
    from editcore.text.neutral import read_neutral

    asked = read_file(cases)
    if rows is not None:
        require_writable(Path(rows))
    requirements = read_gate(Path(gate)) if gate else []
    require_chat_template(model, options["revision"], asked)
    loaded = load_patches(out, patches)
    session = open_session(out, model, **options)
    if neutral is not None:
        session.neutral = read_neutral(Path(neutral))
    named = [name.strip() for name in metrics.split(",") if name.strip()] if metrics else None
    if named is None:
        named = [requirement.metric for requirement in requirements] or usual_metrics(session.registry, asked)
    asked_for = [*named, *(requirement.metric for requirement in requirements)]
    named = named_metrics(session.registry, asked, asked_for)
    with session.patched(*loaded):
        reports = session.evaluate(asked, named, answers=answers)
        ids, stack_hash = session.live.ids, session.live.hash
    if rows:
        _write_rows(Path(rows), reports)
    failed = missed(requirements, reports)
    on = ", ".join(map(short, ids)) if ids else "no patches"
    if out.as_json:
        found: dict[str, Any] = {"patches": list(ids), "stack_hash": stack_hash, "cases": len(asked)}
        found["reports"] = [_json(report) for report in reports]
        if gate:
            found["missed"] = [_missed_json(each) for each in failed]
        out.json(found)
    else:
        out.table(["metric", "value", "95 % interval", "n", ""], [_cells(report) for report in reports])
        out.say(f"computed on {session.loaded.name} with {on}, in {session.loaded.dtype}")
        for each in failed:
            _print_missed(out, each)
    if failed:
        texts = [f"{each.requirement} is required, but it is {each.report.value:.3g}" for each in failed]
        raise RequirementNotMetError("; ".join(texts), hint="see the failing rows in the output")


def _write_rows(path: Path, reports: Sequence[Report]) -> None:
    from editcore.storage.durable import write_atomically

    lines = [json.dumps({"metric": each.metric, **row}, ensure_ascii=False) for each in reports for row in each.rows]
    write_atomically(path, [f"{line}\n".encode() for line in lines])


def _json(report: Report) -> dict[str, Any]:
    import attrs

    return {**attrs.asdict(report, recurse=False), "rows": [dict(row) for row in report.rows]}


def _missed_json(each: "Missed") -> dict[str, Any]:
    found = {"metric": each.report.metric, "required": str(each.requirement), "value": each.report.value}
    return {**found, "rows": [dict(row) for row in each.rows]}


def _cells(report: Report) -> list[object]:
    interval = f"{report.low:.4g} to {report.high:.4g}"
    skipped = sum(row["value"] is None for row in report.rows)
    return [report.metric, f"{report.value:.4g}", interval, report.n, f"{skipped} rows not counted" if skipped else ""]


def _print_missed(out: Output, each: "Missed") -> None:
    out.print()
    out.print(f"{each.requirement}: it is {each.report.value:.4g}, {len(each.rows)} failing rows")
    out.table(["case", "about", "prompt", "target", "value", "says"], [_row(row) for row in each.rows[:SHOWN]])
    if len(each.rows) > SHOWN:
        out.say(f"and {len(each.rows) - SHOWN} more: --rows FILE writes them all")


def _row(row: Mapping[str, Any]) -> list[object]:
    said = row.get("answer_after", row.get("written", ""))
    return [row["case"], row["about"], row["prompt"], row["target"], f"{row['value']:.3g}", said]
