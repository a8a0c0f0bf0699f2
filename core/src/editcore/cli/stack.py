"""`editcore stack`: what is applied to a folder, and the same written down."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from editcore.cli.apply_runtime import UNEDITED
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.places import require_writable
from editcore.text.ids import short
from editcore.text.shell import quoted

if TYPE_CHECKING:
    from editcore.patches.checkpoint.listing import StackRow


_COLUMNS: Final[list[object]] = ["#", "id", "title", "method", "requests", "computed on", "verdict"]
_REQUESTS: Final = _COLUMNS.index("requests")
_ROOM: Final = 100
"""Columns of a terminal that hold the requests beside the titles."""


class _ShowByDefault(click.Group):
    """`stack DIR` is `stack show DIR`; write a folder with the name of a command as ./NAME."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = next((argument for argument in args if not argument.startswith("-")), None)
        if named is not None and named in self.commands:
            args.remove(named)
        elif named is not None or not {"-h", "--help"} & set(args):
            named = "show"
        return super().parse_args(ctx, args if named is None or named not in self.commands else [named, *args])


@click.group(cls=_ShowByDefault, subcommand_metavar="DIR | export DIR -o FILE", no_args_is_help=False)
def stack() -> None:
    """Show the patches on a model folder (`editcore stack DIR`), or export the stack."""


@stack.command()
@click.argument("folder", metavar="DIR")
@with_output
def show(out: Output, folder: str) -> None:
    """Show the patches of DIR in the order in which they were applied. Loads no model."""
    import attrs

    from editcore.patches.checkpoint.folder import Checkpoint
    from editcore.patches.checkpoint.listing import runtime_rows, stack_rows

    checkpoint = Checkpoint.open(folder)
    rows, beside = stack_rows(checkpoint), runtime_rows(checkpoint)
    if out.as_json:
        base, patches = dict(checkpoint.stack.base), [attrs.asdict(row) for row in rows]
        runtime = [attrs.asdict(row) for row in beside]
        out.json({"base": base, "stack_hash": checkpoint.stack.hash, "patches": patches, "runtime": runtime})
        return
    if beside:
        out.table(["#", "id beside the weights", "title", "method", "requests", "kind"], list(map(_beside, beside)))
        out.warn(f"{len(beside)} patches are beside the weights: {UNEDITED}")
    if rows:
        table = [_COLUMNS, *map(_cells, rows)]
        if _is_narrow() and not out.verbose and all(row.title for row in rows):  # a title says the fact already
            table = [line[:_REQUESTS] + line[_REQUESTS + 1 :] for line in table]
        out.table(list(map(str, table[0])), table[1:])
    elif not beside:
        out.print(f"{folder}: no patches")


@stack.command()
@click.argument("folder", metavar="DIR")
@click.option(
    "-o", "--output", metavar="FILE", required=True, help="JSON file to write; patches go to a folder beside it."
)
@with_output
def export(out: Output, folder: str, output: str) -> None:
    """Export the stack of DIR: `editcore apply --stack FILE` applies it to a clean base and compares the bits."""
    from editcore.patches.checkpoint.folder import Checkpoint
    from editcore.patches.exchange.stack_export import write_export

    require_writable(Path(output))
    written = write_export(Checkpoint.open(folder), output)
    if out.as_json:
        out.json({"file": output, "stack_hash": written.hash, "patches": list(written.patch_ids)})
        return
    out.print(f"{output}: {', '.join(map(short, written.patch_ids))}")
    out.say(f"apply it to a clean base with: editcore apply --stack {quoted(output)} --model BASE -o OUT")


def _is_narrow() -> bool:
    return sys.stdout.isatty() and shutil.get_terminal_size().columns < _ROOM


def _beside(row: "StackRow") -> list[object]:
    requests = row.requests[0] if len(row.requests) == 1 else f"{len(row.requests)}"
    return [row.position, short(row.id), row.title, row.method, requests, row.verdict]


def _cells(row: "StackRow") -> list[object]:
    requests = row.requests[0] if len(row.requests) == 1 else f"{len(row.requests)}"
    on = "the base" if row.computed_on is None else short(row.computed_on)
    return [row.position, short(row.id), row.title, row.method, requests, on, row.verdict]
