"""`editcore annotate`: change or re-measure what a patch says about itself. Its effect and its id stay."""

from typing import TYPE_CHECKING, Any

import click

from editcore.cli.apply import base_of
from editcore.cli.early import require_chat_template
from editcore.cli.model import model_options, open_session
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import load_patches, named, naming_options
from editcore.cli.places import patch_output
from editcore.text.ids import short
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore.patches.file.patch import Patch


@click.command()
@click.argument("patch")
@click.option(
    "-o", "--output", required=True, metavar="FILE", help="Patch file to write; with --overwrite also PATCH itself."
)
@naming_options
@click.option(
    "--redact",
    type=click.Choice(["all", "hashes"]),
    is_flag=False,
    flag_value="all",
    help="Remove the texts of the requests; --redact=hashes keeps salted hashes that identify them.",
)
@click.option("--cases", metavar="FILE", help="Measure the patch on these cases (JSON lines) and record the figures.")
@click.option("--metric", "metrics", multiple=True, metavar="ID", help="Metric to measure beside the probability.")
@click.option("--model", metavar="DIR", help="The base, with or without patches. Default: the base that PATCH names.")
@click.option("--overwrite", is_flag=True, help="Overwrite an existing patch.")
@model_options
@with_output
def annotate(
    out: Output,
    patch: str,
    output: str,
    title: str | None,
    license: str | None,
    author: str | None,
    redact: str | None,
    cases: str | None,
    metrics: tuple[str, ...],
    model: str | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Rewrite PATCH with another title, licence or author, without its texts, or with figures measured now.

    The id stays, because it covers only what changes a model. New figures replace the old ones.
    """
    names = {"title": title, "license": license, "author": author}
    if not (cases or redact or any(names.values())):
        raise UsageError("nothing to change", hint="pass --title, --license, --author, --redact or --cases")
    if metrics and not cases:
        raise UsageError("--metric needs cases to measure on", hint="pass --cases FILE as well")
    path = patch_output(output, overwrite=overwrite)
    (changed,) = load_patches(out, [patch])
    if cases:
        changed = _measured(out, changed, cases, metrics, model or base_of(changed), options)
    if redact:
        changed = changed.redact(keep_hashes=redact == "hashes")
    changed = named(changed, **names)  # at last: what is given now is meant to be read
    changed.save(path)
    if out.as_json:
        out.json({"path": output, "id": changed.patch_id, "metrics": changed.about.get("metrics", [])})
    else:
        out.print(f"{output}  {short(changed.patch_id)}")


def _measured(
    out: Output, patch: "Patch", cases: str, metrics: tuple[str, ...], model: str, options: dict[str, Any]
) -> "Patch":
    from editcore.cli.requests import read_file
    from editcore.editing.measurement import measure

    asked = read_file(cases)
    require_chat_template(model, options["revision"], asked)
    measured = measure(open_session(out, model, **options), patch, asked, metrics)
    for measurement in measured.measurements:
        out.say(f"{measurement.request}: p(target) {measurement.before:.3g} -> {measurement.after:.3g}")
    for report in measured.reports:
        out.say(f"{report.metric} {report.value:.3g} (n = {report.n})")
    return measured.patch
