"""`editcore plugins install` and `uninstall`: in the environment that runs."""

import importlib
from typing import TYPE_CHECKING

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output

if TYPE_CHECKING:
    from editcore.plugins.installing import Plan


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("-U", "--upgrade", is_flag=True, help="Upgrade what is installed already.")
@click.option("--dry-run", is_flag=True, help="Show the command and do nothing.")
@with_output
def install(out: Output, names: tuple[str, ...], upgrade: bool, dry_run: bool) -> int:
    """Install plugins with pip or uv. NAME is a plugin of ours, such as rome, or what pip takes.

    In an environment of `uv tool` or pipx the command to type is shown instead.
    """
    from editcore.plugins.installing import install_plan

    return _do(out, install_plan(names, upgrade), dry_run)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--dry-run", is_flag=True, help="Show the command and do nothing.")
@with_output
def uninstall(out: Output, names: tuple[str, ...], dry_run: bool) -> int:
    """Uninstall the distributions of plugins; their patches can still be applied and reverted."""
    from editcore.plugins.installing import uninstall_plan

    return _do(out, uninstall_plan(names), dry_run)


def _do(out: Output, plan: "Plan", dry_run: bool) -> int:
    done = plan.runs and not dry_run
    if done:
        plan.run()
        importlib.invalidate_caches()
    if out.as_json:
        out.json({"command": list(plan.command), "run": done})
    elif not done:
        out.print(plan.text)
        if not plan.runs:
            out.say("this environment belongs to another program: run the command above yourself")
    return 0 if done or dry_run else 4
