"""`editcore extract`: a patch out of two checkpoints."""

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import named, naming_options, show_made
from editcore.cli.places import patch_output
from editcore.patches.forms.table import EXCLUSIVE


@click.command()
@click.argument("base")
@click.argument("edited")
@click.option("-o", "--output", required=True, metavar="FILE", help="Patch file to write.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=1e-3,
    show_default=True,
    help="Relative residual of low-rank deltas.",
)
@click.option(
    "--max-rank",
    type=click.IntRange(1),
    default=128,
    show_default=True,
    metavar="R",
    help="Largest number of factors of a tensor.",
)
@click.option(
    "--exact", is_flag=True, help="Reproduce EDITED's bits; use xor, which excludes other patches, if no delta does."
)
@click.option(
    "--form",
    type=click.Choice(["delta", *EXCLUSIVE]),
    default="delta",
    show_default=True,
    help="xor and replace take every tensor that differs whole: EDITED's bits, and no other patch beside them.",
)
@naming_options
@click.option("--overwrite", is_flag=True, help="Overwrite an existing patch.")
@with_output
def extract(
    out: Output,
    base: str,
    edited: str,
    output: str,
    tolerance: float,
    max_rank: int,
    exact: bool,
    form: str,
    title: str | None,
    license: str | None,
    author: str | None,
    overwrite: bool,
) -> None:
    """Make a patch from BASE to EDITED, the folders or hub ids of two checkpoints of one model.

    No model is loaded. A delta is low-rank if a few factors meet the tolerance, otherwise the smallest form.
    """
    from editcore.models.loading.source import find
    from editcore.patches.checkpoint.folder import Checkpoint
    from editcore.patches.exchange.extraction import extract as run

    path = patch_output(output, overwrite=overwrite)
    first, second = Checkpoint.open(find(base).folder), Checkpoint.open(find(edited).folder)
    with out.progress("tensors", len(first.entries)) as progress:
        found = run(
            first,
            second,
            tolerance=tolerance,
            max_rank=max_rank,
            exact=exact,
            form=form,
            name=base,
            title=title,
            advance=progress.advance,
        )
    for notice in found.notices:
        out.warn(notice)
    patch = named(found.patch, license=license, author=author)
    patch.save(path)
    show_made(out, output, patch, found.residuals, found.exact, f"get the bits of {edited}")
