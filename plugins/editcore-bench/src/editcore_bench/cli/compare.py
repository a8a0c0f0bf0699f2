"""`editcore bench compare`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from editcore.authoring.commands import Output, with_output
from editcore_hooks import RequirementNotMetError, UsageError

if TYPE_CHECKING:
    from editcore_bench.compared import Comparison

DIFFERENT = 7


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--tolerance", type=click.FloatRange(0), default=0.0, show_default=True, help="Largest accepted loss.")
@click.option("--equal", is_flag=True, help="Require the same rows, to the last digit; otherwise exit with 7.")
@click.option("--all", "every", is_flag=True, help="Also show equal figures.")
@with_output
def compare(out: Output, a: str, b: str, tolerance: float, equal: bool, every: bool) -> int:
    """Compare run B with run A, case by case. Exits with 5 if a figure became worse, or B lacks a cell of A.

    A figure is worse when the 95 % interval of its mean difference lies wholly on the bad side.
    """
    from editcore_bench.compared import compare_runs
    from editcore_bench.runs.folder import RunFolder

    found = compare_runs(RunFolder.open(Path(a)), RunFolder.open(Path(b)), tolerance)
    if found.other_data:
        differ = f"{' and '.join(found.other_data)} of the two runs differ"
        raise UsageError(differ, hint="run the same spec on the same files")
    _show(out, found, every)
    if not found.differences and not found.missing:
        raise UsageError("the two runs have no figure in common", hint="compare runs of one spec")
    if equal:
        out.say("every row is the same" if found.same_rows else "the rows differ")
        return 0 if found.same_rows else DIFFERENT
    wrong = [f"{len(found.worse)} figures became worse"] if found.worse else []
    wrong += [f"{b} lacks {', '.join(found.missing)}"] if found.missing else []
    if wrong:
        raise RequirementNotMetError(" and ".join(wrong), hint="see the table, or accept a small loss with --tolerance")
    return 0


def _show(out: Output, found: "Comparison", every: bool) -> None:
    from editcore_bench.report.figures import MOMENTS
    from editcore_bench.report.words import value_text

    if out.as_json:
        out.json(
            {
                "same_rows": found.same_rows,
                "missing": list(found.missing),
                "differences": [
                    {
                        "cell": one.cell.label,
                        "phase": one.phase,
                        "metric": one.metric,
                        "a": one.a,
                        "b": one.b,
                        "difference": one.mean,
                        "low": one.low,
                        "high": one.high,
                        "n": one.n,
                        "verdict": one.verdict,
                    }
                    for one in found.differences
                ],
            }
        )
        return
    shown = [one for one in found.differences if every or one.verdict != "equal"]
    if shown:
        out.table(
            ["cell", "scored", "metric", "A", "B", "B - A", "95 % interval", "n", ""],
            [
                [
                    one.cell.label,
                    MOMENTS[one.phase],
                    one.metric,
                    *(value_text(one.metric, value) for value in (one.a, one.b, one.mean)),
                    f"{value_text(one.metric, one.low)} to {value_text(one.metric, one.high)}",
                    one.n,
                    one.verdict,
                ]
                for one in shown
            ],
        )
    equal = sum(one.verdict == "equal" for one in found.differences)
    out.say(f"{equal} of {len(found.differences)} figures are equal")
