"""`editcore apply`: patches onto a model folder."""

from typing import TYPE_CHECKING, Any

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import load_patches, short
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore.patches.patch import Patch


@click.command("apply")
@click.argument("patches", nargs=-1, metavar="PATCH...")
@click.option(
    "--stack", "stack_file", metavar="FILE", help="Put on what `editcore stack export` wrote, on a clean base."
)
@click.option("--model", metavar="DIR", help="Folder of the base, or an id. Default: what the first patch names.")
@click.option("-o", "--output", metavar="OUT", help="Write a patched copy of the folder.")
@click.option("--in-place", is_flag=True, help="Patch the folder itself; `editcore revert` takes it back.")
@click.option("--dry-run", is_flag=True, help="Check, print what would be written, and write nothing.")
@click.option("--strict", is_flag=True, help="Ask that the whole base agrees, not just what is touched.")
@with_output
def apply(
    out: Output,
    patches: tuple[str, ...],
    stack_file: str | None,
    model: str | None,
    output: str | None,
    in_place: bool,
    dry_run: bool,
    strict: bool,
) -> None:
    """Put patches on a model folder, without loading the model. The result loads with plain from_pretrained."""
    from editcore.editing.folders import apply_to_copy, apply_to_folder
    from editcore.models.source import find
    from editcore.patches.checkpoint import Checkpoint
    from editcore.patches.plan import plan_apply
    from editcore.patches.stack_export import read_export

    if sum((bool(output), in_place, dry_run)) != 1:
        raise UsageError("say where to write", hint="pass -o OUT, --in-place or --dry-run")
    if bool(patches) == bool(stack_file):
        raise UsageError("name the patches to put on, or --stack FILE", hint="editcore apply --help")
    export = read_export(stack_file) if stack_file else None
    loaded = export.load() if export else load_patches(out, patches)
    folder = find(model or _base_of(loaded[0])).folder
    checkpoint = Checkpoint.open(folder)
    if export:
        export.require_clean(checkpoint)
    plan = plan_apply(checkpoint, loaded, strict)
    if dry_run:
        _show(out, loaded, plan)
        return
    applied = apply_to_copy(folder, output, loaded, strict) if output else apply_to_folder(checkpoint, loaded, strict)
    other_bits = export.other_bits(applied.result_sha256) if export else ()
    for notice in applied.notices:
        out.warn(notice)
    for key in other_bits:
        out.warn(
            f"{key} came out with other bits than where the stack was exported: another machine, or another version"
        )
    where = output or str(folder)
    if out.as_json:
        data = {"folder": where, "patches": list(applied.patch_ids), "result_sha256": dict(applied.result_sha256)}
        if export:
            data |= {"stack_hash": applied.stack_hash, "other_bits": list(other_bits)}
        out.json(data)
    else:
        out.print(f"{where}: {', '.join(map(short, applied.patch_ids))}")
        out.say(f"take one back with: editcore revert {short(loaded[-1].patch_id)} --model {where}")


def _base_of(patch: "Patch") -> str:
    base = patch.annotation("base")
    name, revision = base.get("name"), base.get("revision")
    if not isinstance(name, str) or revision is None:
        raise UsageError(
            f"patch {short(patch.patch_id)} was made on a local folder called {name}", hint="name it with --model DIR"
        )
    return name


def _show(out: Output, patches: "list[Patch]", plan: Any) -> None:
    rows = [
        {
            "patch": patch.patch_id,
            "tensor": plan.verdicts[patch.patch_id].keys[key],
            "form": patch.targets[key]["form"],
            "norm": norm,
            "base_sha256": patch.targets[key]["base_sha256"],
            "verdict": plan.verdicts[patch.patch_id].kind,
        }
        for patch in patches
        for key, norm in patch.delta_norms().items()
    ]
    if out.as_json:
        out.json({"targets": rows, "bytes_to_write": plan.bytes_to_write, "notices": list(plan.notices)})
        return
    out.table(
        ["patch", "tensor", "form", "norm", "base sha256", "verdict"],
        [
            [short(r["patch"]), r["tensor"], r["form"], f"{r['norm']:.4g}", r["base_sha256"][:12], r["verdict"]]
            for r in rows
        ],
    )
    out.say(f"{plan.bytes_to_write:,} bytes would be written")
    for notice in plan.notices:
        out.warn(notice)
