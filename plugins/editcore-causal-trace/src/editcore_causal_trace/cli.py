"""`editcore locate`: trace facts through a model, as a table and as the picture of the paper."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editcore.authoring.commands import Output, model_options, open_session, read_file, with_output
from editcore_hooks import EditRequest, UsageError

if TYPE_CHECKING:
    from editcore_causal_trace.hparams import TraceHparams
    from editcore_hooks import Session

ANYTHING = "?"
"""Requests have a target, which is never read here: what is traced is what the model says."""


@click.command()
@click.argument("model")
@click.option("--method", type=click.Choice(["causal-trace", "logit-lens"]), default="causal-trace", show_default=True)
@click.option("--prompt", help="Statement up to its answer, with {} for the subject.")
@click.option("--subject", help="Subject of the fact.")
@click.option("--target-true", help="Right answer; facts that the model does not know are left out.")
@click.option("--requests", metavar="FILE", help="File of facts, one JSON object a line; - reads standard input.")
@click.option("--severed", is_flag=True, help="Also restore states while the MLPs, or attention, above are severed.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of causal-trace.")
@click.option("--plot", metavar="FILE", help="Draw the heat map into a .png or .svg file.")
@model_options
@with_output
def locate(
    out: Output,
    model: str,
    method: str,
    prompt: str | None,
    subject: str | None,
    target_true: str | None,
    requests: str | None,
    severed: bool,
    settings: tuple[str, ...],
    plot: str | None,
    **options: Any,
) -> None:
    """Show through which tokens and blocks of MODEL a fact passes, or the facts of FILE on average.

    causal-trace corrupts the subject and restores one hidden state at a time; logit-lens reads the answer off every
    block. The traced token is the one that the model says next.
    """
    from editcore.authoring.settings import from_settings
    from editcore_causal_trace.hparams import TraceHparams

    asked = _requests(prompt, subject, target_true, requests)
    draw = _drawing(plot)
    if method == "logit-lens" and (severed or plot or settings):
        message = "the logit lens severs nothing, draws nothing and has nothing to set here"
        raise UsageError(message, hint="leave out --severed, --plot and --set")
    hparams = from_settings(TraceHparams, settings)
    session = open_session(out, model, **options)
    if method == "causal-trace":
        _trace(out, session, asked, hparams, severed, draw)
    else:
        _lens(out, session, asked)


def _requests(prompt: str | None, subject: str | None, target_true: str | None, file: str | None) -> list[EditRequest]:
    if file is not None:
        if prompt or subject or target_true:
            raise UsageError("--requests excludes these options: its lines hold prompt and subject")
        return [case.request for case in read_file(file)]
    if prompt is None or subject is None:
        missing = "--prompt" if prompt is None else "--subject"
        raise UsageError(f"{missing} is missing", hint="give --prompt and --subject, or --requests FILE")
    return [EditRequest(prompt, subject, ANYTHING, target_true, id="1")]


def _drawing(plot: str | None) -> Callable[[Any, str], None] | None:
    """The function that draws a report into the file, found before any work. Raises `UsageError`."""
    if plot is None:
        return None
    path = Path(plot)
    if path.suffix not in (".png", ".svg"):
        raise UsageError(f"{plot} is neither a .png nor a .svg file", hint="name it like --plot trace.png")
    from editcore_causal_trace.plot import draw, require_matplotlib

    require_matplotlib()
    return lambda report, title: draw(report, title, path)


def _trace(
    out: Output,
    session: "Session",
    asked: list[EditRequest],
    hparams: "TraceHparams",
    severed: bool,
    draw: Callable[[Any, str], None] | None,
) -> None:
    from editcore_causal_trace.facts import read_facts
    from editcore_causal_trace.report import report_of
    from editcore_causal_trace.trace import KINDS, SEVERED, noise_level, trace_fact

    facts = read_facts(session, asked)
    if left := len(asked) - len(facts):
        out.say(f"{left} of {len(asked)} facts are left out: the model says something else")
    noise = noise_level(session, facts, hparams.noise)
    kinds = (*KINDS, *SEVERED) if severed else KINDS
    traced = []
    with session.progress("causal tracing", len(facts)) as progress:
        for fact in facts:
            traced.append(trace_fact(session, fact, noise, hparams, kinds))
            progress.advance()
    report = report_of(session, traced, noise, hparams.window_in(session.anatomy.n_layers))
    if draw is not None:
        draw(report, session.loaded.name)
    if out.as_json:
        out.json(report.as_json())
        return
    out.table(*report.table())
    out.say(report.summary())


def _lens(out: Output, session: "Session", asked: list[EditRequest]) -> None:
    from editcore_causal_trace.facts import read_facts
    from editcore_causal_trace.lens import look
    from editcore_causal_trace.report import lens_json, lens_table

    lenses = [look(session, fact) for fact in read_facts(session, asked)]
    if out.as_json:
        out.json(lens_json(session, lenses))
    else:
        out.table(*lens_table(session, lenses))
