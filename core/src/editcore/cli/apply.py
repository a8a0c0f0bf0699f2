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
@click.argument("patches", nargs=-1, required=True, metavar="PATCH...")
@click.option("--model", metavar="DIR", help="Folder of the base, or an id. Default: what the first patch names.")
@click.option("-o", "--output", metavar="OUT", help="Write a patched copy of the folder.")
@click.option("--in-place", is_flag=True, help="Patch the folder itself; `editcore revert` takes it back.")
@click.option("--dry-run", is_flag=True, help="Check, print what would be written, and write nothing.")
@click.option("--strict", is_flag=True, help="Ask that the whole base agrees, not just what is touched.")
@with_output
def apply(
    out: Output,
    patches: tuple[str, ...],
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

    if sum((bool(output), in_place, dry_run)) != 1:
        raise UsageError("say where to write", hint="pass -o OUT, --in-place or --dry-run")
    loaded = load_patches(out, patches)
    folder = find(model or base_of(loaded[0])).folder
    checkpoint = Checkpoint.open(folder)
    plan = plan_apply(checkpoint, loaded, strict)
    if dry_run:
        _show(out, loaded, plan)
        return
    applied = apply_to_copy(folder, output, loaded, strict) if output else apply_to_folder(checkpoint, loaded, strict)
    for notice in applied.notices:
        out.warn(notice)
    where = output or str(folder)
    if out.as_json:
        out.json({"folder": where, "patches": list(applied.patch_ids), "result_sha256": dict(applied.result_sha256)})
    else:
        out.print(f"{where}: {', '.join(map(short, applied.patch_ids))}")
        out.say(f"take one back with: editcore revert {short(loaded[-1].patch_id)} --model {where}")


def base_of(patch: "Patch") -> str:
    """The id of a patch's base. Raises `UsageError` when it was a local folder."""
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
            "norm": norms.get(key),
            "base_sha256": patch.targets[key]["base_sha256"],
            "verdict": plan.verdicts[patch.patch_id].kind,
        }
        for patch, norms in ((patch, patch.delta_norms()) for patch in patches)
        for key in patch.targets
    ]
    if out.as_json:
        out.json({"targets": rows, "bytes_to_write": plan.bytes_to_write, "notices": list(plan.notices)})
        return
    out.table(
        ["patch", "tensor", "form", "norm", "base sha256", "verdict"],
        [
            [short(r["patch"]), r["tensor"], r["form"], _norm(r["norm"]), r["base_sha256"][:12], r["verdict"]]
            for r in rows
        ],
    )
    out.say(f"{plan.bytes_to_write:,} bytes would be written")
    for notice in plan.notices:
        out.warn(notice)


def _norm(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
