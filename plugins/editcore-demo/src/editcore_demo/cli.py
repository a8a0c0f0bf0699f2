"""`editcore demo`."""

import click

from editcore.authoring.commands import Output, with_output


@click.command()
@click.option(
    "-o", "--output", metavar="DIR", help="Work folder, which is kept. Default: a new temporary folder, also kept."
)
@with_output
def demo(out: Output, output: str | None) -> None:
    """Edit two facts of a small model of an invented world, stack the patches, revert one, then both.

    Offline, in under a minute on two cores. Everything it does can be done with the commands that it names.
    """
    from editcore_demo.tour import tour

    tour(out, output)
