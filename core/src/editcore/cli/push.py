"""`editcore push`: a patch or a trained editor onto a model hub."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import load_patches
from editcore.text.ids import short
from editcore.text.shell import quoted
from editcore_hooks import EditcoreError, UsageError

if TYPE_CHECKING:
    from editcore.patches.file.patch import Patch


@click.command()
@click.argument("patch")
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--yes", is_flag=True, help="Publish the requests without being asked.")
@click.option("--redact", is_flag=True, help="Publish without the texts of the requests.")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@with_output
def push(out: Output, patch: str, repository: str, yes: bool, redact: bool, private: bool) -> None:
    """Publish PATCH with a card as OWNER/NAME on the hub that HF_ENDPOINT names, by default huggingface.co.

    PATCH may also be a trained editor that `editcore train -o` wrote. Asks before it publishes requests. Without them
    the weights still hold the fact.
    """
    from editcore.models.loading.source import require_repository
    from editcore.patches.exchange.hub import is_asset, push_patch, push_trained

    require_repository(repository)
    if (path := Path(patch)).is_file() and is_asset(path):
        address = push_trained(path, repository, private=private)
        if out.as_json:
            out.json({"repository": repository, "commit": address})
        else:
            out.print(address)
        return
    (loaded,) = load_patches(out, [patch])
    if redact:
        loaded = loaded.redact()
    elif not yes:
        _ask(loaded, repository)
    address = push_patch(loaded, repository, private=private)
    if out.as_json:
        out.json({"id": loaded.patch_id, "repository": repository, "commit": address})
    else:
        out.print(address)
        out.say(f"fetch it with: editcore pull {quoted(repository)} -o {short(loaded.patch_id)}.safetensors")


def _ask(patch: "Patch", repository: str) -> None:
    requests = patch.about.get("requests")
    if not isinstance(requests, list) or not requests:
        return
    what = f"{len(requests)} request{'s' * (len(requests) > 1)} would be published in {repository}"
    if not sys.stdin.isatty():
        raise UsageError(what, hint="pass --redact to leave them out, or --yes")
    if not click.confirm(f"{what}. Go on?", err=True):
        raise EditcoreError("nothing was published", hint="pass --redact to leave the requests out")
