"""`editcore repair`: after a kill."""

from typing import Final

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output

_WORDS: Final = {
    "nothing": "nothing was to be repaired",
    "finished": "an interrupted change was finished",
    "rolled back": "an interrupted change was rolled back",
    "cleared": "what an interrupted command left was removed",
}


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
    out.print(f"{folder}: {_WORDS[done.action]}")
    for name in done.removed:
        out.say(f"removed {name}")
