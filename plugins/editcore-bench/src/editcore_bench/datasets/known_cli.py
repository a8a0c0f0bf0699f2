"""`editcore datasets known`."""

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from editcore.authoring.commands import Output, model_options, open_session, quoted, with_output
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore_bench.datasets.known import Form


@click.command()
@click.argument("model")
@click.option("--records", "sources", multiple=True, required=True, metavar="FILE", help="Published records; repeat.")
@click.option("--to", required=True, metavar="CASES.jsonl", help="File for the cases, one a line.")
@click.option("--n", type=click.IntRange(1), default=200, show_default=True, help="Number of known facts.")
@click.option(
    "--form",
    type=click.Choice(["chat", "question", "cloze"]),
    help="Form of the prompts. Default: chat for a model with a chat template, otherwise cloze.",
)
@click.option("--overwrite", is_flag=True, help="Overwrite an existing file.")
@model_options
@with_output
def known(
    out: Output,
    model: str,
    sources: tuple[str, ...],
    to: str,
    n: int,
    form: str | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Write cases of facts that MODEL knows: asked, it gives the true answer by itself, greedily.

    The order of the records is drawn by --seed. The same model, records, seed and form give the same file.
    """
    from editcore_bench.datasets.known import candidates, read_records
    from editcore_bench.datasets.source import find

    path = Path(to)
    if path.exists() and not overwrite:
        raise UsageError(f"{to} exists already", hint="choose another name, or pass --overwrite")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint=f"mkdir -p {quoted(path.parent)}")
    cases = list(read_records([find(source) for source in sources]))

    from editcore.authoring.evaluation import case_to_json
    from editcore.authoring.files import write_atomically
    from editcore_bench.datasets.known import known_cases, usual_form

    session = open_session(out, model, **options)
    chosen = cast("Form", form or usual_form(session))
    asked, left_out = candidates(cases, chosen, session.seed)
    with out.progress("known facts", n) as progress:
        found = known_cases(session, asked, n, progress.advance)
    if len(found.cases) < n:
        message = f"{session.loaded.name} knows {len(found.cases)} of {found.asked} facts, and {n} are asked for"
        raise UsageError(message, hint=f"pass --n {max(1, len(found.cases))}, or more --records")
    data = "".join(f"{json.dumps(case_to_json(case), ensure_ascii=False)}\n" for case in found.cases).encode()
    write_atomically(path, [data])
    digest = sha256(data).hexdigest()
    if out.as_json:
        facts = {"path": to, "cases": n, "asked": found.asked, "form": chosen, "sha256": digest, "left_out": left_out}
        out.json(facts)
        return
    out.print(f"{to}  {n} cases, form {chosen}, sha256 {digest}")
    out.say(f"{session.loaded.name} knows {n} of the first {found.asked} facts that it was asked")
    for why, number in left_out.items():
        out.say(f"left out: {number} records: {why}")
