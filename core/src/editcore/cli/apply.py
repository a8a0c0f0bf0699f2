"""`editcore apply`: patches onto a model folder."""

from typing import TYPE_CHECKING, Any

import click

from editcore.cli.apply_plan import conflicts_as_json, say_products, show_plan
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import load_patches
from editcore.cli.places import free_folder
from editcore.text.ids import short
from editcore.text.shell import quoted
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore.patches.change.conflicts import OnConflict
    from editcore.patches.file.patch import Patch


@click.command("apply")
@click.argument("patches", nargs=-1, metavar="PATCH...")
@click.option("--stack", "stack_file", metavar="FILE", help="Apply an exported stack to a clean base.")
@click.option("--model", metavar="DIR", help="Folder or hub id of the base. Default: the id in the first patch.")
@click.option("-o", "--output", metavar="OUT", help="Write a patched copy of the folder.")
@click.option("--in-place", is_flag=True, help="Patch the folder itself; undo with `editcore revert`.")
@click.option("--dry-run", is_flag=True, help="Check, print the planned changes, and write nothing.")
@click.option(
    "--runtime",
    is_flag=True,
    help="Put memories and modules beside the weights, for editcore.load; a plain from_pretrained goes without.",
)
@click.option("--strict", is_flag=True, help="Check the whole base, not only the touched tensors.")
@click.option(
    "--on-conflict",
    type=click.Choice(["refuse", "warn", "last-wins"]),
    default="warn",
    show_default=True,
    help="For two patches that conflict: refuse, warn, or drop the earlier one if they have one fact or cannot share "
    "a tensor.",
)
@with_output
def apply(
    out: Output,
    patches: tuple[str, ...],
    stack_file: str | None,
    model: str | None,
    output: str | None,
    in_place: bool,
    dry_run: bool,
    runtime: bool,
    strict: bool,
    on_conflict: "OnConflict",
) -> None:
    """Apply patches to a model folder without loading the model. The result loads with plain from_pretrained."""
    from editcore.applying.change import Change
    from editcore.models.loading.source import find
    from editcore.patches.checkpoint.folder import Checkpoint
    from editcore.patches.exchange.stack_export import read_export

    if (given := sum((bool(output), in_place, dry_run))) != 1:
        what = "more than one output was given" if given else "no output was given"
        raise UsageError(what, hint="pass one of -o OUT, --in-place and --dry-run")
    if bool(patches) == bool(stack_file):
        raise UsageError("name the patches to apply, or --stack FILE", hint="editcore apply --help")
    again = f"editcore apply {' '.join(map(quoted, patches)) or f'--stack {quoted(stack_file)}'}"
    if output:
        free_folder(output, or_else=f"patch it as it is: {again} --model {quoted(output)} --in-place")
    export = read_export(stack_file) if stack_file else None
    loaded = export.load() if export else load_patches(out, patches)
    folder = find(model or base_of(loaded[0], f"{again} --model DIR {_written(output, in_place)}")).folder
    checkpoint = Checkpoint.open(folder)
    if runtime:
        from editcore.cli.apply_runtime import run

        run(out, checkpoint, loaded, output, dry_run)
        return
    if export:
        export.require_clean(checkpoint)
    change = Change.open(checkpoint, loaded, strict=strict)
    if export:
        change.require_compatible()
    # The patches of a stack have been on one model before; whether they should have been was decided then.
    conflicts = [] if export else change.conflicts()
    if dry_run:
        show_plan(out, loaded, change.plan, conflicts)
        decided = change.decided(conflicts, on_conflict)
        for notice in decided.notices if on_conflict == "last-wins" else ():
            out.warn(notice)
        # Last, because the rest is worth seeing also where a result would be refused.
        decided.rehearse()
        return
    decided = change.decided(conflicts, on_conflict)
    for notice in decided.notices:
        out.warn(notice)
    say_products(out, change.plan)
    applied = decided.commit_to_copy(output) if output else decided.commit()
    other_bits = export.other_bits(applied.result_sha256) if export else ()
    for notice in applied.notices:
        out.warn(notice)
    for key in other_bits:
        out.warn(f"{key} has other bits than on the machine that exported the stack: machine or versions differ")
    where = output or model or str(folder)
    if out.as_json:
        data: dict[str, Any] = {
            "folder": where,
            "patches": list(applied.patch_ids),
            "result_sha256": dict(applied.result_sha256),
        }
        data |= {"taken_off": list(decided.removed), "conflicts": conflicts_as_json(conflicts)}
        if export:
            data |= {"stack_hash": applied.stack_hash, "other_bits": list(other_bits)}
        out.json(data)
    else:
        out.print(f"{where}: {', '.join(map(short, applied.patch_ids))}")
        out.say(f"revert the last with: editcore revert {short(decided.patches[-1].patch_id)} --model {quoted(where)}")


def _written(output: str | None, in_place: bool) -> str:
    """The option that says where the result goes."""
    return f"-o {quoted(output)}" if output else "--in-place" if in_place else "--dry-run"


def base_of(patch: "Patch", command: str = "") -> str:
    """The hub id of a patch's base. Raises `UsageError` where the patch names a folder: it must not choose a path.

    `command` is the whole command with the folder named in it.
    """
    from editcore.models.loading.source import is_repository

    base = patch.annotation("base")
    name, revision = base.get("name"), base.get("revision")
    named = f"--model DIR: {command}" if command else "--model DIR"
    if not isinstance(name, str) or revision is None:
        raise UsageError(
            f"patch {short(patch.patch_id)} was made for a local folder called {name}",
            hint=f"name it with {named}",
        )
    if not is_repository(name):
        raise UsageError(
            f"patch {short(patch.patch_id)} names the base {name}, which is a path and not the id of a model on a hub",
            hint=f"name the folder with {named}",
        )
    return name
