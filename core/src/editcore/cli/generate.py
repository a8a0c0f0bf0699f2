"""`editcore generate`: text, with patches beside the base."""

import sys
from typing import Any

import click

from editcore.cli.early import require_chat
from editcore.cli.model import model_options, open_session
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import load_patches
from editcore.cli.requests import chat_options, chat_template
from editcore_hooks import UsageError


@click.command()
@click.argument("model")
@click.option("--patch", "patches", multiple=True, metavar="PATCH", help="Apply this patch for the second column.")
@click.option("--prompt", "prompts", multiple=True, help="Text to continue; - reads one a line from standard input.")
@chat_options
@click.option("--max-new-tokens", type=click.IntRange(1), default=32, show_default=True)
@click.option("--base", metavar="DIR", help="For a quantised MODEL: the unquantised base of the patches.")
@click.option("--beside", is_flag=True, help="Run low-rank patches beside the weights instead of in them.")
@model_options
@with_output
def generate(
    out: Output,
    model: str,
    patches: tuple[str, ...],
    prompts: tuple[str, ...],
    chat: bool,
    system: str | None,
    max_new_tokens: int,
    **options: Any,
) -> None:
    """Continue prompts with MODEL, greedily; with patches, side by side with the model without them."""
    texts = [line for p in prompts for line in (sys.stdin.read().splitlines() if p == "-" else [p]) if line.strip()]
    if not texts:
        raise UsageError("no prompt was given", hint="pass --prompt TEXT")
    template = chat_template(chat, system)
    if template is not None:
        require_chat(model, options["revision"])
    loaded = load_patches(out, patches)
    session = open_session(out, model, **options)
    before = session.generate(texts, max_new_tokens, template)
    after: list[str] = []
    if loaded:
        with session.patched(*loaded):
            after = session.generate(texts, max_new_tokens, template)
    if out.as_json:
        rows = [{"prompt": text, "base": new} for text, new in zip(texts, before, strict=True)]
        for row, new in zip(rows, after, strict=False):
            row["patched"] = new
        out.json(rows)
    elif loaded:
        out.table(["prompt", "without", "with"], list(zip(texts, before, after, strict=True)))
    else:
        for text, new in zip(texts, before, strict=True):
            out.print(new if template else text + new)
