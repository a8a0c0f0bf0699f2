"""`editcore datasets`: what can be read, and into cases with it."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editcore.authoring.commands import Output, Progress, quoted, with_output
from editcore_bench.datasets.known_cli import known
from editcore_hooks import Case, RefusedFileError, UsageError

if TYPE_CHECKING:
    from editcore_hooks import Dataset

SHOWN = 3
"""Largest number of lines for omissions; `-v` lists all."""


@click.group(invoke_without_command=True)
@with_output
def datasets(out: Output) -> None:
    """List the dataset layouts that can be read, show one, or convert a file to cases."""
    if click.get_current_context().invoked_subcommand is None:
        _list(out)


datasets.add_command(known)


def _list(out: Output) -> None:
    from editcore.authoring.settings import registry

    found = registry().datasets.classes().values()
    if out.as_json:
        out.json([_described(cls) for cls in found])
    else:
        out.table(["name", "what", "paper"], [[cls.name, cls.summary, cls.paper] for cls in found])


@datasets.command()
@click.argument("name")
@click.option("--sample", is_flag=True, help="Print a small file in this layout.")
@with_output
def show(out: Output, name: str, sample: bool) -> None:
    """Show the keys of the dataset NAME, the files that have them, and its settings."""
    from editcore.authoring.settings import describe, registry

    cls = registry().dataset(name)
    if sample:
        if not (text := cls.sample()):
            raise UsageError(f"{name} has no sample", hint=f"editcore datasets show {quoted(name)}")
        out.print(text.rstrip())
        return
    described, rows = _described(cls), describe(cls.Hparams)
    if out.as_json:
        import attrs

        out.json({**described, "hparams": [attrs.asdict(row) for row in rows]})
        return
    for label, value in described.items():
        if value:
            out.print(f"{label}: {', '.join(value) if isinstance(value, list) else value}")
    out.print()
    out.table(["setting", "type", "default", "help"], [[row.field, row.type, row.default, row.help] for row in rows])


def _described(cls: "type[Dataset]") -> dict[str, Any]:
    from editcore.authoring.settings import registry

    distribution, version = registry().source_of(cls)
    return {
        "name": cls.name,
        "summary": cls.summary,
        "paper": cls.paper,
        "files": cls.files,
        "keys": list(cls.keys),
        "distribution": distribution,
        "version": version,
    }


@datasets.command()
@click.argument("name")
@click.argument("source", metavar="FILE|OWNER/NAME[@REVISION]")
@click.option("--to", required=True, metavar="CASES.jsonl", help="File for the cases, one a line.")
@click.option("--file", metavar="NAME", help="File to read, if a repository has several.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One setting of the layout.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N cases.")
@click.option("--overwrite", is_flag=True, help="Overwrite an existing file.")
@with_output
def convert(
    out: Output,
    name: str,
    source: str,
    to: str,
    file: str | None,
    settings: tuple[str, ...],
    limit: int | None,
    overwrite: bool,
) -> None:
    """Read a file in the layout NAME and write its cases. Nothing is written when the file does not fit."""
    from editcore.authoring.files import write_atomically
    from editcore.authoring.settings import from_settings, registry
    from editcore_bench.datasets.source import find

    path = Path(to)
    if path.exists() and not overwrite:
        raise UsageError(f"{to} exists already", hint="choose another name, or pass --overwrite")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint=f"mkdir -p {quoted(path.parent)}")
    cls = registry().dataset(name)
    dataset = cls(from_settings(cls.Hparams, settings))
    found = find(source, file)
    with out.progress(f"reading {found.name}") as progress:
        write_atomically(path, _lines(dataset.read(found), limit, progress, found.name))
    if out.as_json:
        out.json({"path": to, "dataset": name, "cases": progress.done, "left_out": dataset.left_out})
        return
    out.print(f"{to}  {progress.done} cases")
    lines = dataset.left_out if out.verbose else dataset.left_out[:SHOWN]
    for line in lines:
        out.say(f"left out: {line}")
    if len(lines) < len(dataset.left_out):
        out.say(f"left out: {len(dataset.left_out) - len(lines)} more; list them with -v")


def _lines(cases: Iterable[Case], limit: int | None, progress: Progress, name: str) -> Iterator[bytes]:
    from editcore.authoring.evaluation import case_to_json

    for case in cases:
        if progress.done == limit:
            break
        progress.advance()
        yield json.dumps(case_to_json(case), ensure_ascii=False).encode() + b"\n"
    if progress.done == 0:
        raise RefusedFileError(f"{name} holds no case")
