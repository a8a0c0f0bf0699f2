"""`editcore bench report`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from editcore.authoring.commands import Output, with_output
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from editcore_bench.report.figures import CellFigures
    from editcore_bench.runs.folder import RunFolder


@click.command()
@click.argument("run")
@click.option("--html", metavar="FILE", help="File for the page.  [default: report.html in the folder]")
@click.option("--csv", "csv_file", metavar="FILE", help="File for all figures.  [default: figures.csv in the folder]")
@click.option("--markdown", metavar="FILE", help="Also write the page as Markdown, with its picture beside it.")
@click.option(
    "--cases", type=click.IntRange(0), default=200, show_default=True, help="Number of cases of each cell on the page."
)
@with_output
def report(out: Output, run: str, html: str | None, csv_file: str | None, markdown: str | None, cases: int) -> None:
    """Show the figures of the run folder RUN, and write them as CSV and as one page that needs no network."""
    from editcore.authoring.files import write_atomically
    from editcore_bench.report.figures import cell_figures
    from editcore_bench.report.page import page
    from editcore_bench.report.table import as_csv
    from editcore_bench.runs.folder import RunFolder

    folder = RunFolder.open(Path(run))
    found = cell_figures(folder)
    if not found:
        raise UsageError(f"no cell of {run} is finished yet", hint="run its command again to resume it")
    show(out, found)
    csv_path, html_path = Path(csv_file or folder.path / "figures.csv"), Path(html or folder.path / "report.html")
    write_atomically(csv_path, [as_csv(found).encode()])
    write_atomically(html_path, [page(folder, found, cases).encode()])
    out.say(f"written: {csv_path} and {html_path}")
    if markdown is not None:
        _write_markdown(out, folder, found, Path(markdown))


def _write_markdown(out: Output, folder: "RunFolder", found: "Sequence[CellFigures]", path: Path) -> None:
    from editcore.authoring.files import write_atomically
    from editcore_bench.report.markdown import markdown

    picture = path.with_suffix(".svg")
    made = markdown(folder, found, picture.name)
    write_atomically(path, [made.text.encode()])
    if made.picture is not None:
        write_atomically(picture, [made.picture.encode()])
    out.say(f"written: {path}{f' and {picture}' if made.picture is not None else ''}")


def show(out: Output, found: "Sequence[CellFigures]") -> None:
    """The summary of a run on stdout."""
    from editcore_bench.report.table import dtypes_of, terminal
    from editcore_bench.spec.values import TOGETHER

    if out.as_json:
        out.json(
            [
                {
                    **one.cell.to_json(),
                    "dtype": one.record.dtype,
                    "cost": dict(one.record.cost),
                    "figures": [
                        {
                            "metric": figure.metric,
                            "phase": figure.phase,
                            "since": figure.since,
                            "edits": figure.edits,
                            "value": figure.value,
                            "low": figure.low,
                            "high": figure.high,
                            "n": figure.n,
                        }
                        for figure in one.figures
                    ],
                }
                for one in found
            ]
        )
        return
    columns, rows = terminal(found)
    out.table(columns, rows)
    if any(one.cell.protocol.kind == "single" for one in found):
        out.say(f"single: edits are computed up to {TOGETHER} at once; the time is their mean, the peak that of all")
    out.print(f"in {dtypes_of(found)}; in brackets the 95 % interval and how many cases or texts the figure is over")
