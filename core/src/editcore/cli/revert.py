"""`editcore revert`: patches off a model folder again."""

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.text.ids import short


@click.command()
@click.argument("patch_ids", nargs=-1, required=True, metavar="PATCH...")
@click.option("--model", required=True, metavar="DIR", help="The patched folder.")
@click.option("--keep", metavar="FOLDER", help="Save what is taken off there first.")
@click.option("--with-dependents", is_flag=True, help="Take off what requires them as well.")
@with_output
def revert(out: Output, patch_ids: tuple[str, ...], model: str, keep: str | None, with_dependents: bool) -> None:
    """Take patches off a folder, in any order; the bits are those of never having applied them.

    PATCH is an id, six characters or more of one, or the file of a patch. With the last one gone every file is as it
    was before. A patch that others require goes with them or not at all.
    """
    from pathlib import Path

    from editcore.applying.change import Change
    from editcore.patches.change.dependents import dependents
    from editcore.patches.checkpoint.folder import Checkpoint
    from editcore.patches.checkpoint.stored import stored_whole
    from editcore.patches.file.patch import Patch

    checkpoint = Checkpoint.open(model)
    names = [Patch.read_header(name).patch_id if Path(name).is_file() else name for name in patch_ids]
    gone = [checkpoint.stack.find(name) for name in names]
    if with_dependents:
        gone += dependents(checkpoint, gone)
    if keep is not None:
        Path(keep).mkdir(parents=True, exist_ok=True)
        for patch_id in gone:
            stored_whole(checkpoint, patch_id).save(Path(keep) / f"{short(patch_id)}.safetensors")
    applied = Change.open(checkpoint, remove=gone).commit()
    for notice in applied.notices:
        out.warn(notice)
    if out.as_json:
        out.json({"folder": model, "reverted": gone, "patches": list(applied.patch_ids)})
    elif applied.patch_ids:
        out.print(f"{model}: {', '.join(map(short, applied.patch_ids))}")
    else:
        out.print(f"{model}: no patches, the base again")
