"""`editcore export`: a patch in a form that other programs read."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editcore.cli.apply import base_of
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import load_patches, require_file
from editcore.cli.places import free_folder
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore.patches.file.patch import Patch


@click.command()
@click.argument("patches", nargs=-1, required=True, metavar="PATCH...")
@click.option("--to", "form", type=click.Choice(["peft", "merged", "card"]), required=True, help="Output format.")
@click.option("-o", "--output", required=True, metavar="OUT", help="New folder; for a card a folder or a file.md.")
@click.option("--model", metavar="DIR", help="Folder or hub id of the base. Default: the base that the patch names.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=1e-2,
    show_default=True,
    help="peft: largest relative error of a delta.",
)
@click.option(
    "--max-rank",
    type=click.IntRange(1),
    default=128,
    show_default=True,
    metavar="R",
    help="peft: largest number of factors of a module.",
)
@click.option(
    "--base-name", metavar="NAME", help="peft: base named in the adapter. Default: the hub id, or else the folder."
)
@click.option("--keep-history", is_flag=True, help="merged: keep patches and originals in the copy, as apply does.")
@with_output
def export(
    out: Output,
    patches: tuple[str, ...],
    form: str,
    output: str,
    model: str | None,
    tolerance: float,
    max_rank: int,
    base_name: str | None,
    keep_history: bool,
) -> None:
    """Write PATCH as a LoRA adapter (peft), a whole patched checkpoint (merged) or a model card.

    Merged takes several patches. The checkpoint is a new base: it holds no record of the patches, and none can be
    reverted, unless --keep-history is given. Units are folded: every MLP becomes wider.
    """
    if len(patches) > 1 and form != "merged":
        raise UsageError(f"--to {form} takes one patch", hint="make one of several: editcore squash P1 P2 -o P")
    if form == "card":
        _card(out, patches[0], Path(output))
        return
    free_folder(output)
    from editcore.models.loading.source import find

    loaded = load_patches(out, patches)
    if form == "peft":
        from editcore.patches.exchange.peft_export import require_adaptable

        require_adaptable(loaded[0], max_rank, tolerance)
    folder = find(model or base_of(loaded[0])).folder
    if form == "merged":
        _merged(out, loaded, folder, output, keep_history)
    else:
        _adapter(out, loaded[0], folder, output, tolerance, max_rank, base_name, model)


def _merged(out: Output, patches: "list[Patch]", folder: Path, output: str, keep_history: bool) -> None:
    if any(patch.kind != "weights" for patch in patches):
        from editcore.applying.folding import fold_to_copy
        from editcore.patches.change.copying import left_out

        changed = fold_to_copy(folder, output, patches)
        for notice in left_out(folder):
            out.warn(notice)
        _done(out, output, dict(changed))
        told = "; ".join(f"{name}: {_shown(value)}" for name, value in changed.items())
        out.say(f"a new base model, which cannot be reverted ({told})")
        return
    from editcore.applying.change import Change

    applied = Change.open(folder, patches).commit_to_copy(output, history=keep_history)
    for notice in applied.notices:
        out.warn(notice)
    _done(out, output, {"result_sha256": dict(applied.result_sha256)})


def _shown(value: Any) -> str:
    """`before 48, after 50`."""
    return ", ".join(f"{name} {one}" for name, one in value.items()) if isinstance(value, dict) else str(value)


def _adapter(
    out: Output,
    patch: "Patch",
    folder: Path,
    output: str,
    tolerance: float,
    max_rank: int,
    base_name: str | None,
    model: str | None,
) -> None:
    from editcore.patches.checkpoint.folder import Checkpoint
    from editcore.patches.exchange.peft_export import base_named, write_adapter

    base = Checkpoint.open(folder)
    made = write_adapter(patch, base, Path(output), tolerance=tolerance, max_rank=max_rank, base_name=base_name)
    name, revision = base_named(patch, base, base_name)
    _done(out, output, {"ranks": dict(made.ranks), "residuals": dict(made.residuals), "base": name})
    for path, rank in made.ranks.items():
        out.say(f"{path}: rank {rank}, relative residual {made.residuals[path]:.3g}")
    if revision is not None:
        out.say(f"its base is {name}; offline: PeftModel.from_pretrained(model of {folder}, {output!r})")
    elif base_name is None:
        out.say(f"it names {model or name} on this machine as its base; to share it: --base-name OWNER/NAME")
    out.say(
        f"a server that limits the rank must allow {max(made.ranks.values())}; it adds the adapter in the model's dtype"
    )


def _card(out: Output, name: str, output: Path) -> None:
    from editcore.patches.exchange.card import card
    from editcore.patches.file.patch import Patch
    from editcore.storage.durable import write_atomically

    path = output if output.suffix == ".md" else output / "README.md"
    if path.exists():
        raise UsageError(f"{path} exists already", hint="choose another name")
    header = Patch.read_header(require_file(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [card(header, header.patch_id, Path(name).name).encode()])
    _done(out, str(path), {})


def _done(out: Output, path: str, more: dict[str, Any]) -> None:
    if out.as_json:
        out.json({"path": path, **more})
    else:
        out.print(path)
