"""`editcore export`: a patch in a form that other programs read."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editcore.cli.apply import base_of
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import load_patches, require_file
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore.patches.patch import Patch


@click.command()
@click.argument("patch")
@click.option("--to", "form", type=click.Choice(["peft", "merged", "card"]), required=True, help="What to write.")
@click.option("-o", "--output", required=True, metavar="OUT", help="A new folder; for a card a folder or a file.md.")
@click.option("--model", metavar="DIR", help="Folder of the base, or an id. Default: what the patch names.")
@click.option("--tolerance", type=float, default=1e-2, show_default=True, help="peft: relative error of a delta.")
@click.option("--max-rank", type=int, default=128, show_default=True, metavar="R", help="peft: most factors a module.")
@with_output
def export(out: Output, patch: str, form: str, output: str, model: str | None, tolerance: float, max_rank: int) -> None:
    """Write PATCH as a LoRA adapter (peft), as a whole patched checkpoint (merged) or as a model card."""
    if form == "card":
        _card(out, patch, Path(output))
        return
    from editcore.models.source import find

    (loaded,) = load_patches(out, [patch])
    folder = find(model or base_of(loaded)).folder
    if form == "merged":
        from editcore.editing.folders import apply_to_copy

        applied = apply_to_copy(folder, output, [loaded])
        for notice in applied.notices:
            out.warn(notice)
        _done(out, output, {"result_sha256": dict(applied.result_sha256)})
        return
    _adapter(out, loaded, folder, output, tolerance, max_rank)


def _adapter(out: Output, patch: "Patch", folder: Path, output: str, tolerance: float, max_rank: int) -> None:
    from editcore.patches.adapting import write_adapter
    from editcore.patches.checkpoint import Checkpoint

    made = write_adapter(patch, Checkpoint.open(folder), Path(output), tolerance=tolerance, max_rank=max_rank)
    _done(out, output, {"ranks": dict(made.ranks), "residuals": dict(made.residuals)})
    for path, rank in made.ranks.items():
        out.say(f"{path}: rank {rank}, relative residual {made.residuals[path]:.3g}")
    out.say(f"servers that limit the rank need {max(made.ranks.values())}; an adapter adds in the model's own dtype")


def _card(out: Output, name: str, output: Path) -> None:
    from editcore.patches.card import card
    from editcore.patches.durable import write_atomically
    from editcore.patches.patch import Patch

    path = output if output.suffix == ".md" else output / "README.md"
    if path.exists():
        raise UsageError(f"{path} is there already", hint="choose another name")
    header = Patch.read_header(require_file(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [card(header, header.patch_id, Path(name).name).encode()])
    _done(out, str(path), {})


def _done(out: Output, path: str, more: dict[str, Any]) -> None:
    if out.as_json:
        out.json({"path": path, **more})
    else:
        out.print(path)
