"""`editcore repair`: after a kill."""

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output


@click.command()
@click.argument("folder", metavar="DIR")
@with_output
def repair(out: Output, folder: str) -> None:
    """Complete or undo an interrupted change of DIR, and remove what it left."""
    from editcore.patches.change.repairing import repair as run

    done = run(folder)
    if out.as_json:
        out.json({"folder": folder, "action": done.action, "removed": list(done.removed)})
        return
    out.print(f"{folder}: {done.action}")
    for name in done.removed:
        out.say(f"removed {name}")
