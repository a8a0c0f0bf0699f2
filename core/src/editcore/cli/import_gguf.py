"""`editcore import`: a GGUF file as a model folder that can be edited."""

from pathlib import Path

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.places import free_folder
from editcore.text.shell import quoted


@click.command("import")
@click.argument("file", metavar="FILE.gguf")
@click.option("-o", "--output", required=True, metavar="DIR", help="Folder to write; must be new or empty.")
@click.option(
    "--dtype",
    type=click.Choice(["bfloat16", "float16", "float32"]),
    default="bfloat16",
    show_default=True,
    help="Dtype of the stored weights.",
)
@with_output
def import_gguf(out: Output, file: str, output: str, dtype: str) -> None:
    """Convert FILE.gguf to a model folder with safetensors weights, tokenizer and chat template.

    The file is read by transformers; quantised weights are unpacked. The folder loads with plain from_pretrained.
    """
    from editcore.models.loading.gguf import import_gguf as convert
    from editcore.models.loading.gguf import require_gguf

    require_gguf(Path(file))
    folder = free_folder(output)
    made = convert(Path(file), folder, dtype, out.say)
    if out.as_json:
        out.json({"folder": output, "model_type": made.model_type, "parameters": made.parameters, "chat": made.chat})
        return
    out.print(f"{output}: {made.model_type}, {made.parameters / 1e6:.0f} M parameters")
    out.say(
        f"edit it with: editcore edit {quoted(output)} --prompt '{{}} works as a' --subject … --target … "
        "-o fact.safetensors"
    )
