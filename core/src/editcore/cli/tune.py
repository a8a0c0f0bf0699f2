"""`editcore tune`: which settings of a method suit a model."""

from typing import TYPE_CHECKING, Any

import click

from editcore.cli.model import model_options, open_session
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.requests import read_file

if TYPE_CHECKING:
    from editcore.tuning.tune import Tuned

SHOWN = 10


@click.command()
@click.argument("model")
@click.option("--method", default="rome", show_default=True, help="Editing method; see `editcore methods`.")
@click.option("--cases", metavar="FILE", help="Facts to try, with target_true, one JSON object a line; else its own.")
@click.option("--facts", default=48, show_default=True, help="How many of its own facts to try.")
@click.option("--edits", default=1, show_default=True, help="How many facts will be edited at once.")
@click.option("--name", help="Name of the profile; by default the one that `edit` takes by itself.")
@click.option("--seconds", default=90.0, show_default=True, help="Longest time for the search.")
@model_options
@with_output
def tune(
    out: Output,
    model: str,
    method: str,
    cases: str | None,
    facts: int,
    edits: int,
    name: str | None,
    seconds: float,
    **options: Any,
) -> None:
    """Try the settings of a method on facts of MODEL, and keep the best as a profile, which `edit` then uses.

    The facts are those of FILE, or such as the model states by itself: no dataset is needed. Each is edited alone, or
    as many together as will be (--edits) where the method takes many, and scored in memory: the new answer, the same in
    other contexts and words, answers to other questions, and how far the model drifts on unrelated text.
    """
    from editcore.tuning.tune import tune as search

    given = read_file(cases) if cases else None
    session = open_session(out, model, **options)
    found = search(session, method, given, name=name, facts=facts, seconds=seconds, edits=edits)
    _show(out, found)


def _show(out: Output, found: "Tuned") -> None:
    if out.as_json:
        out.json({"profile": found.profile.name, "hparams": dict(found.profile.hparams), **found.profile.about})
        return
    ranked = sorted(found.trials, key=lambda trial: (len(trial.outcomes), trial.score), reverse=True)
    rows = []
    for trial in ranked[:SHOWN]:
        s = trial.summary
        settings = " ".join(f"{key}={value}" for key, value in trial.settings.items())
        figures = ["", "", "", "", ""] if s is None else [s.score, s.target, s.general, s.local, s.kl]
        rows.append([settings, *(f"{x:.3f}" if x != "" else "" for x in figures), len(trial.outcomes)])
    out.table(["settings", "score", "target", "general", "local", "KL", "facts"], rows)
    if len(ranked) > SHOWN:
        out.say(f"and {len(ranked) - SHOWN} more: --json shows them all")
    for text in found.failed:
        out.say(f"did not take: {text}")
    settings = ", ".join(f"{key} = {value}" for key, value in found.profile.hparams.items())
    out.say(f"kept as the profile {found.profile.name} after {found.seconds:.0f} s: {settings}")
