"""`editcore pull`: a patch or a trained editor from a model hub."""

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.places import patch_output
from editcore.text.ids import short
from editcore.text.shell import quoted

_POSITIVE = click.FloatRange(0, min_open=True)


@click.command()
@click.argument("repository", metavar="OWNER/NAME[@REVISION]")
@click.option("-o", "--output", required=True, metavar="FILE", help="File to write.")
@click.option("--file", metavar="NAME", help="File to read, if the repository has several.")
@click.option("--overwrite", is_flag=True, help="Overwrite an existing patch.")
@click.option(
    "--max-megabytes", type=_POSITIVE, default=2000, show_default=True, metavar="N", help="Largest accepted file."
)
@click.option(
    "--max-seconds", type=_POSITIVE, default=600, show_default=True, metavar="N", help="Longest accepted download."
)
@click.option(
    "--max-pages",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    metavar="N",
    help="Longest accepted listing of the repository; a page holds about 1,000 files.",
)
@with_output
def pull(
    out: Output,
    repository: str,
    output: str,
    file: str | None,
    overwrite: bool,
    max_megabytes: float,
    max_seconds: float,
    max_pages: int,
) -> None:
    """Download a patch or a trained editor, and check its ids, hashes, forms and values before writing it."""
    from editcore.models.loading.source import require_repository
    from editcore.patches.exchange.fetching import Limits
    from editcore.patches.exchange.hub import pull_file
    from editcore.patches.file.patch import Patch

    path = patch_output(output, overwrite=overwrite)
    name, _, revision = repository.partition("@")
    require_repository(name)
    limits = Limits(max_megabytes, max_seconds, max_pages)
    found = pull_file(name, path, revision=revision or None, file=file, limits=limits)
    sha256 = found.patch_id if isinstance(found, Patch) else found.sha256
    if isinstance(found, Patch):
        for notice in found.notices:
            out.warn(notice)
    if out.as_json:
        out.json({"path": output, "id": sha256, "repository": name, "revision": revision or None})
        return
    out.print(f"{output}  {short(sha256)}")
    if not isinstance(found, Patch):
        method = found.identity.parameters.get("method")
        out.say(f"use it with: editcore edit MODEL --method {method} --set {quoted(f'editor={output}')}")
