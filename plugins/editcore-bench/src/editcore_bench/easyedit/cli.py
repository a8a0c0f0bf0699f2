"""`editcore easyedit`: files of EasyEdit, for people who come from there."""

import json
from pathlib import Path

import click

from editcore.authoring.commands import Output, with_output


@click.group()
def easyedit() -> None:
    """Read files of EasyEdit: hyper-parameters as settings, results as figures."""


@easyedit.command()
@click.argument("file", metavar="FILE.yaml", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_output
def settings(out: Output, file: Path) -> None:
    """Print the settings that FILE.yaml means here, as YAML for --hparams; what is left out on stderr."""
    from editcore_bench.easyedit.settings import convert_settings

    made = convert_settings(file)
    if out.as_json:
        out.json({"method": made.method, "hparams": dict(made.settings), "left": dict(made.left)})
        return
    out.print(f"# editcore edit MODEL --method {made.method} --hparams THIS_FILE …")
    for name, value in made.settings.items():
        out.print(f"{name}: {json.dumps(value, ensure_ascii=False)}")
    for key, reason in made.left.items():
        out.say(f"{key}: left out, {reason}")


@easyedit.command()
@click.argument("file", metavar="FILE.json", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--rows", metavar="FILE", help="Write the value of every case, one JSON object a line.")
@with_output
def results(out: Output, file: Path, rows: str | None) -> None:
    """Print the figures of FILE.json with their intervals, under the names that they have here."""
    from editcore.authoring.files import write_atomically
    from editcore_bench.easyedit.results import read_results, reports

    found = read_results(file)
    if rows is not None:
        text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in found)
        write_atomically(Path(rows), [text.encode("utf-8")])
    made = reports(found)
    if out.as_json:
        named = ("metric", "value", "n", "low", "high")
        out.json([{name: getattr(one, name) for name in named} for one in made])
        return
    out.table(
        ["metric", "value", "95 %", "n"],
        [[one.metric, f"{one.value:.3f}", f"{one.low:.3f} to {one.high:.3f}", one.n] for one in made],
    )
