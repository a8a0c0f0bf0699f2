"""`editcore mello`: a question of several steps, answered with the edited facts."""

from typing import Any

import click

from editcore.authoring.commands import Output, load_patches, model_options, open_session, with_output


@click.command()
@click.argument("model")
@click.option("--patch", "patches", multiple=True, metavar="PATCH", help="Patch of facts that is not on MODEL yet.")
@click.option("--question", required=True, help="Question of several steps.")
@click.option("--hops", type=click.IntRange(1), default=4, show_default=True, help="Largest number of steps.")
@click.option(
    "--floor", type=click.FloatRange(-1, 1), help="Least cosine of a step and a fact (default: that of the patch)."
)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="Tokens that the model writes a step.",
)
@model_options
@with_output
def mello(
    out: Output,
    model: str,
    patches: tuple[str, ...],
    question: str,
    hops: int,
    floor: float | None,
    max_new_tokens: int,
    **options: Any,
) -> None:
    """Answer a question of several steps with MODEL, step by step, each checked against the edited facts."""
    from attrs import asdict

    from editcore_ike.mello import ask

    loaded = load_patches(out, patches)
    session = open_session(out, model, **options)
    with session.patched(*loaded):
        found = ask(session.model, session.tokenizer, question, hops=hops, floor=floor, new_tokens=max_new_tokens)
    if out.as_json:
        out.json(asdict(found))
        return
    rows = [[hop.subquestion, hop.generated or "", hop.fact or "none", hop.intermediate or ""] for hop in found.hops]
    out.table(["subquestion", "generated answer", "retrieved fact", "intermediate answer"], rows)
    out.print(f"final answer: {found.text or 'none'}")
