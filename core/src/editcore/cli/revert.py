"""`editcore revert`: patches off a model folder again."""

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.text.ids import short
from editcore_hooks import UsageError


@click.command()
@click.argument("patch_ids", nargs=-1, required=True, metavar="PATCH...")
@click.option("--model", required=True, metavar="DIR", help="Patched model folder.")
@click.option("--keep", metavar="FOLDER", help="First save the reverted patches in this folder.")
@click.option("--with-dependents", is_flag=True, help="Also revert the patches that require them.")
@with_output
def revert(out: Output, patch_ids: tuple[str, ...], model: str, keep: str | None, with_dependents: bool) -> None:
    """Revert patches on a folder, in any order; the bits are as if they had never been applied.

    First it tells which edits go alone, which only together, and which patches stay fitted to those that go.

    PATCH is an id, its first six or more characters, or a patch file. Without patches, every file is as before the
    first. A patch that others require is reverted with them or not at all.
    """
    from pathlib import Path

    from editcore.applying.change import Change
    from editcore.cli.revert_runtime import revert_runtime
    from editcore.patches.change.dependents import computed_elsewhere, dependents
    from editcore.patches.change.runtime import find_runtime
    from editcore.patches.change.taken_back import taken_back
    from editcore.patches.checkpoint.folder import Checkpoint
    from editcore.patches.checkpoint.stored import stored_patch, stored_whole
    from editcore.patches.file.patch import Patch

    checkpoint = Checkpoint.open(model)
    for name in patch_ids:
        if not Path(name).is_file() and not name.isalnum():
            raise UsageError(f"there is no patch file {name}", hint="see `editcore stack DIR` for the ids")
    names = [Patch.read_header(name).patch_id if Path(name).is_file() else name for name in patch_ids]
    beside = [found for name in names if (found := find_runtime(Path(model), name)) is not None]
    gone = [checkpoint.stack.find(name) for name in names if find_runtime(Path(model), name) is None]
    if beside:
        attached = revert_runtime(out, checkpoint, beside, keep)
        if not gone:
            if out.as_json:
                out.json({"folder": model, "reverted": beside, "runtime": list(attached)})
            else:
                out.print(f"{model}: {', '.join(map(short, attached)) or 'no patches'} beside the weights")
            return
        checkpoint = Checkpoint.open(model)
    if with_dependents:
        gone += dependents(checkpoint, gone)
    if keep is not None:
        Path(keep).mkdir(parents=True, exist_ok=True)
        for patch_id in gone:
            stored_whole(checkpoint, patch_id).save(Path(keep) / f"{short(patch_id)}.safetensors")
    change = Change.open(checkpoint, remove=gone)
    for patch_id in change.removed:
        out.say(f"{short(patch_id)}: {taken_back(stored_patch(checkpoint, patch_id))}")
    fitted = computed_elsewhere(checkpoint, gone)
    for notice in fitted:
        out.warn(notice)
    applied = change.commit()
    for notice in applied.notices:
        if notice not in fitted:
            out.warn(notice)
    if out.as_json:
        out.json({"folder": model, "reverted": [*beside, *gone], "patches": list(applied.patch_ids)})
    elif applied.patch_ids:
        out.print(f"{model}: {', '.join(map(short, applied.patch_ids))}")
    else:
        out.print(f"{model}: no patches, the base again")
