"""`editcore eval`: what a model, with patches or without, answers to cases; a gate for use in CI."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from editcore.cli.model import model_options, open_session
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import load_patches
from editcore.cli.requests import read_file
from editcore.text.ids import short
from editcore_hooks import Case, Report, RequirementNotMetError

if TYPE_CHECKING:
    from editcore.evaluation.reports.gate import Missed
    from editcore.facade import Session

USUAL: Final = (
    "tf.token@1",
    "tf.exact@1",
    "gen.contains@2",
    "pref.es@1",
    "pref.ps@1",
    "pref.ns@1",
    "pref.score@1",
    "loc.agree@1",
    "loc.kl@1",
    "port.all@1",
)
SHOWN: Final = 10
"""Failing rows of a metric that are printed; --json and --rows have all."""


@click.command("eval")
@click.argument("model")
@click.option("--patch", "patches", multiple=True, metavar="PATCH", help="Put it on first, in memory.")
@click.option("--cases", metavar="FILE", required=True, help="What to ask, JSON lines; - reads standard input.")
@click.option("--metrics", metavar="A,B", help="Metrics by id. Default: the usual ones that the cases can answer.")
@click.option("--gate", metavar="FILE", help="YAML: bounds by metric. Exits with 5 and the failing rows if missed.")
@click.option("--rows", metavar="FILE", help="Write every row there, one JSON object a line.")
@click.option("--neutral", metavar="FILE", help="Measure damage on this text, a passage a line, not on our own.")
@click.option("--answers", default=0, show_default=True, help="Tokens of text before and after in each row.")
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
    """Score MODEL on cases as it stands: with its patches, and with those given by --patch.

    Locality and portability compare with the model without any patch; its answers are kept for the next time.
    """
    from editcore.evaluation.reports.gate import missed, read_gate
    from editcore.text.neutral import read_neutral

    asked = read_file(cases)
    requirements = read_gate(Path(gate)) if gate else []
    loaded = load_patches(out, patches)
    session = open_session(out, model, **options)
    if neutral is not None:
        session.neutral = read_neutral(Path(neutral))
    named = [name.strip() for name in metrics.split(",") if name.strip()] if metrics else None
    if named is None:
        named = [requirement.metric for requirement in requirements] or answerable(session, asked)
    named = list(dict.fromkeys([*named, *(requirement.metric for requirement in requirements)]))
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
        texts = [f"{each.requirement} but it is {each.report.value:.3g}" for each in failed]
        raise RequirementNotMetError(f"required {', '.join(texts)}", hint="the failing rows are in the output")


def answerable(session: "Session", cases: Sequence[Case]) -> list[str]:
    """Those of the usual metrics that have something to ask."""
    true = any(request.target_true is not None for case in cases for request in case.requests)
    has = {
        "pref.es@1": true,
        "pref.ps@1": true and any(case.rephrases for case in cases),
        "pref.ns@1": any(probe.targets for case in cases for probe in case.locality.get("neighbour", ())),
        "loc.agree@1": any(any(case.locality.values()) for case in cases),
        "port.all@1": any(probe.targets for case in cases for p in case.portability.values() for probe in p),
    }
    has["pref.score@1"] = has["pref.es@1"] and has["pref.ps@1"] and has["pref.ns@1"]
    has["loc.kl@1"] = has["loc.agree@1"]
    return [name for name in USUAL if has.get(name, True)]


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
