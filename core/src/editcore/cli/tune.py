"""`editcore tune`: which settings of a method suit a model."""

import signal
import threading
from typing import TYPE_CHECKING, Any

import click

from editcore.cli.early import require_chat_template
from editcore.cli.model import model_options, open_session
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.places import require_cache
from editcore.cli.requests import read_file
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore.facade import Session
    from editcore.tuning.tune import Tuned

SHOWN = 10


@click.command()
@click.argument("model")
@click.option("--method", help="Editing method; see `editcore methods`.  [default: rome]")
@click.option(
    "--cases", metavar="FILE", help="Facts to try, with target_true, one JSON object a line. Default: the model's own."
)
@click.option(
    "--facts", type=click.IntRange(1), default=36, show_default=True, help="Number of the model's own facts to try."
)
@click.option(
    "--edits", type=click.IntRange(1), default=1, show_default=True, help="Number of facts that you will edit at once."
)
@click.option("--name", help="Name of the profile. Default: the one that `edit` uses.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=150.0,
    show_default=True,
    help="Time limit, statistics included.",
)
@click.option("--locate", "locator", metavar="NAME:KEY=VALUE", help="Locator whose place is tried first.")
@click.option("--list", "listed", is_flag=True, help="Show the profiles of MODEL, for --method or for all.")
@click.option("--forget", metavar="NAME", help="Remove the profile NAME of the method.")
@model_options
@with_output
def tune(
    out: Output,
    model: str,
    method: str | None,
    cases: str | None,
    facts: int,
    edits: int,
    name: str | None,
    seconds: float,
    locator: str | None,
    listed: bool,
    forget: str | None,
    **options: Any,
) -> None:
    """Try the settings of a method on facts of MODEL, and keep the best as a profile, which `edit` then uses.

    The facts come from FILE, or the model states them itself: no dataset is needed. Each fact is edited alone, or, if
    the method takes many, together with as many as you will edit (--edits). Trials run in memory and score the new
    answer, the same in other contexts and words, answers to other questions, and the drift on unrelated text.
    """
    if listed and forget:
        raise UsageError("--list and --forget exclude each other", hint="give one of them")
    given = read_file(cases) if cases else None
    if not listed and not forget:
        _require_method(method or "rome")
        require_cache()
    require_chat_template(model, options["revision"], given or [])
    session = open_session(out, model, **options)
    if listed:
        _list(out, session, method)
        return
    if forget:
        from editcore.tuning.profiles import forget_profile

        forget_profile(session, method or "rome", forget)
        out.say(f"forgot the profile {forget} of {method or 'rome'}")
        return
    from editcore.tuning.tune import tune as search

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was found is kept
    found = search(
        session,
        method or "rome",
        given,
        name=name,
        facts=facts,
        seconds=seconds,
        edits=edits,
        locator=locator,
    )
    _show(out, found)


def _require_method(name: str) -> None:
    """Raise `PluginError` for a method that is not there, before the model is opened."""
    from editcore.plugins.registry import registry

    registry().method(name)


def _list(out: Output, session: "Session", method: str | None) -> None:
    from editcore.tuning.profiles import list_profiles

    profiles = list_profiles(session, method)
    if out.as_json:
        out.json([{"method": p.method, "name": p.name, "sha256": p.asset.sha256, **p.about} for p in profiles])
    elif not profiles:
        out.say(f"no profile of {session.loaded.name} yet. Make one with `editcore tune MODEL --method NAME`")
    else:
        rows = [[p.method, p.name, _settings(p.hparams), p.about["facts"], p.about["n_facts"]] for p in profiles]
        out.table(["method", "name", "settings", "facts", "n"], rows)


def _show(out: Output, found: "Tuned") -> None:
    if out.as_json:
        out.json({"profile": found.profile.name, "hparams": dict(found.profile.hparams), **found.profile.about})
        return
    ranked = sorted(found.trials, key=lambda trial: (len(trial.outcomes), trial.score), reverse=True)
    rows = []
    for trial in ranked[:SHOWN]:
        s = trial.summary
        figures = ["", "", "", "", ""] if s is None else [s.score, s.target, s.general, s.local, s.kl]
        rows.append([_settings(trial.settings), *(f"{x:.3f}" if x != "" else "" for x in figures), len(trial.outcomes)])
    out.table(["settings", "score", "target", "general", "local", "KL", "facts"], rows)
    if len(ranked) > SHOWN:
        out.say(f"and {len(ranked) - SHOWN} more: --json shows them all")
    for text in found.failed:
        out.say(f"did not take: {text}")
    if located := found.profile.about.get("locator"):
        verdict = "taken" if located["chosen"] else "not taken: another scored better"
        out.say(f"{located['name']} pointed at {_settings(located['place'])}, which was {verdict}")
    out.say(f"kept as the profile {found.profile.name}: {_settings(found.profile.hparams)}")


def _settings(values: Any) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items()) or "the defaults"
