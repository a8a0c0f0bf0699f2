"""`editcore blame`: which patch of a stack broke a fact."""

from typing import TYPE_CHECKING, Any

import click

from editcore.cli.early import require_chat_template
from editcore.cli.model import model_options, open_session
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import load_patches
from editcore.text.ids import short
from editcore.text.shell import quoted
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore.editing.blame import Verdict


@click.command()
@click.argument("folder", metavar="MODEL")
@click.option(
    "--patch", "patches", multiple=True, metavar="PATCH", help="Apply this patch first, in memory; repeat in order."
)
@click.option("--probes", is_flag=True, help="Also check the rephrases and probes of the cases.")
@click.option(
    "--cases", metavar="FILE", help="Facts that should hold (JSON lines). Default: the patches' own requests."
)
@model_options
@with_output
def blame(out: Output, folder: str, patches: tuple[str, ...], probes: bool, cases: str | None, **options: Any) -> None:
    """Find the patch on MODEL that broke each case, by bisection over the order in which patches were applied: those of
    the folder, then those of --patch.

    A case holds if the model answers with its target. The patch found is then removed alone; if that does not fix the
    case, several patches broke it together, which is reported. Nothing is written.
    """
    import attrs

    from editcore.cli.requests import read_file
    from editcore.editing.blame import blame as find
    from editcore.editing.blame import own_cases

    asked = read_file(cases) if cases else None
    require_chat_template(folder, options["revision"], asked or [])
    named = load_patches(out, patches)
    session = open_session(out, folder, **options)
    on_folder = session.live.ids
    for patch in named:
        session.apply(patch)
    if not session.live.ids:
        raise UsageError(
            f"{folder} carries no patches", hint="apply patches with `editcore apply`, or name them with --patch"
        )
    if asked is None:
        asked = own_cases(session)
    if not asked:
        raise UsageError("the patches hold no requests to check", hint="pass --cases FILE")
    found = find(session, asked, probes)
    if out.as_json:
        out.json(attrs.asdict(found))
        return
    out.table(["case", "about", "fact", "", "patch"], [_cells(verdict) for verdict in found.verdicts])
    out.say(f"{found.evaluations} models evaluated, of {len(session.live.ids)} patches")
    for verdict in found.verdicts:
        if verdict.status == "interaction" and verdict.patch:
            out.warn(
                f"{verdict.case} first fails with {short(verdict.patch)}, but still fails if only that patch is removed"
            )
    broken = [verdict.patch for verdict in found.verdicts if verdict.status == "broken" and verdict.patch in on_folder]
    if broken and broken[0]:
        out.say(f"revert it with: editcore revert {short(broken[0])} --model {quoted(folder)}")


def _cells(verdict: "Verdict") -> list[str]:
    patch = f"{short(verdict.patch)} {verdict.title}".strip() if verdict.patch else ""
    what = {"broken": "broken by", "interaction": "broken together with"}.get(verdict.status, verdict.status)
    return [verdict.case, verdict.about, f"{verdict.prompt} … {verdict.target.strip()}", what, patch]
