"""`editcore stack`: what is applied to a folder."""

from typing import Any

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import short


@click.command()
@click.argument("folder", metavar="DIR")
@with_output
def stack(out: Output, folder: str) -> None:
    """Show the patches of DIR in the order they were put on. Loads no model."""
    from editcore.patches.checkpoint import Checkpoint
    from editcore.patches.patch import Patch
    from editcore.patches.stack import patch_path, stack_hash

    checkpoint = Checkpoint.open(folder)
    rows: list[dict[str, Any]] = []
    for position, patch_id in enumerate(checkpoint.patch_ids):
        header = Patch.read_header(patch_path(checkpoint.folder, patch_id))
        on = header.about.get("computed_on")
        rows.append(
            {
                "id": patch_id,
                "title": header.title,
                "method": str(header.annotation("method").get("name", "")),
                "requests": len(header.about.get("requests") or ()),
                "computed_on": on,
                "verdict": _verdict(on, stack_hash(checkpoint.patch_ids[:position]), position),
            }
        )
    if out.as_json:
        out.json({"base": dict(checkpoint.stack.base), "patches": rows})
    elif rows:
        out.table(
            ["#", "id", "title", "method", "requests", "verdict"],
            [[i + 1, short(r["id"]), r["title"], r["method"], r["requests"], r["verdict"]] for i, r in enumerate(rows)],
        )
    else:
        out.print(f"{folder}: no patches")


def _verdict(computed_on: str | None, below: str, position: int) -> str:
    """Whether the patches under it are those on which it was computed and measured."""
    if computed_on == below or (computed_on is None and position == 0):
        return "as computed"
    return "computed on the base alone" if computed_on is None else "computed on another stack"
