"""`editcore bench compare`."""

import click
from editcore.cli.options import with_output
from editcore.cli.output import Output


@click.command()
@with_output
def compare(out: Output) -> None:
    """x"""
