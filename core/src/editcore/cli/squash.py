"""`editcore squash`: several patches in one file."""

from typing import Any

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import load_patches, named, naming_options, show_made
from editcore.cli.places import patch_output
from editcore_hooks import UsageError


@click.command()
@click.argument("patches", nargs=-1, required=True, metavar="P1 P2...")
@click.option("-o", "--output", required=True, metavar="FILE", help="Patch file to write.")
@click.option(
    "--max-rank", type=click.IntRange(1), metavar="R", help="Keep at most R factors a tensor and report the error."
)
@click.option(
    "--rule", type=click.Choice(["sum", "ties", "dare"]), default="sum", show_default=True, help="Merge rule."
)
@click.option(
    "--density",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="Share of each delta that ties and dare keep. [0.5]",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Seed of dare, which drops entries at random. [0]")
@naming_options
@click.option("--redact", is_flag=True, help="Omit the texts of the requests from the file.")
@click.option("--overwrite", is_flag=True, help="Overwrite an existing patch.")
@with_output
def squash(
    out: Output,
    patches: tuple[str, ...],
    output: str,
    max_rank: int | None,
    rule: Any,
    density: float | None,
    seed: int | None,
    title: str | None,
    license: str | None,
    author: str | None,
    redact: bool,
    overwrite: bool,
) -> None:
    """Make one weight patch from several patches of one base, with the result of applying them all.

    Low-rank deltas are kept side by side and give the bits of the sources. Tensors that are only close are printed.
    """
    from editcore.patches.exchange.squashing import squash as run

    if rule == "sum" and (density is not None or seed is not None):
        raise UsageError("a sum has no density and no seed", hint="pass --rule ties or --rule dare as well")
    path = patch_output(output, overwrite=overwrite)
    squashed = run(load_patches(out, patches), rule, 0.5 if density is None else density, max_rank, seed or 0)
    for notice in squashed.notices:
        out.warn(notice)
    patch = squashed.patch.redact() if redact else squashed.patch
    patch = named(patch, title=title, license=license, author=author)
    patch.save(path)
    show_made(out, output, patch, squashed.residuals, squashed.exact, "come out bit for bit as with all of them")
