"""`tune`: find the settings of a method for a model, and keep them as a profile."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
from attrs import frozen

from editcore.plugins.locators import make_locator
from editcore.session.limits import TimeUp
from editcore.text.shell import quoted
from editcore.tuning.estimate import Estimate
from editcore.tuning.outcome import say_outcome
from editcore.tuning.profiles import Profile, default_name, keep_profile, origin
from editcore.tuning.search import Search, Trial, failed
from editcore.tuning.task import CHECKED, Task, Watch
from editcore_hooks import Case, UsageError

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

FACTS: Final = 36
SECONDS: Final = 150.0
"""For all of it, so that a first edit on a small model, with opening it and the edit itself, stays under 3 minutes."""


@frozen
class Tuned:
    """The profile kept, the trial that won, all trials, and the facts on which the winner's edit did not take."""

    profile: Profile
    best: Trial
    trials: tuple[Trial, ...]
    failed: tuple[str, ...]
    seconds: float


def tune(
    session: "OpenSession",
    method: str,
    cases: Sequence[Case] | None = None,
    *,
    name: str | None = None,
    facts: int = FACTS,
    seconds: float = SECONDS,
    edits: int = 1,
    locator: str | None = None,
    if_needed: bool = False,
) -> Tuned:
    """Try the settings that `method` finds worth trying on `cases`, or on at most `facts` facts of the model itself.

    `edits` is how many facts will be written at once; where the method makes a difference, `name` does by default too.
    `seconds` are for everything: facts, statistics and trials stop by then. Where `locator` points is tried first.
    With `if_needed` nothing is searched where the method's defaults hold on a few of the facts. Works on the base,
    whatever patches are on, and says first about how long it will take. What was found is kept also when a
    KeyboardInterrupt stops the search, which is raised again.

    Raises `UsageError` when the method has nothing to tune, edits none of the facts, or the facts are too few, and
    `TimeUp` when the time allows not a single trial.
    """
    cls = session.registry.method(method)
    space = cls.tunable({**session.traits(), "edits": edits})
    if space is None:
        kind = session.model.config.model_type
        raise UsageError(f"{method} has nothing to tune on a {kind} model", hint=f"editcore methods {method}")
    pointer = make_locator(session.registry, locator)
    task = Task(session, cls, space, tuple(cases or ()), seconds)
    with session.at_base(), session.recalling():
        estimate = Estimate.of(session, space, facts, CHECKED, bool(cases))
        foreseen = _foretell(session, method, estimate, seconds, if_needed)
        search = task.begin(min(facts, CHECKED)) if if_needed else None
        held = search is not None and task.defaults_hold(search)
        interrupt = None
        if search is None or not (held or task.left <= 0):
            if if_needed:
                further = estimate.whole(max(task.left, 0.0))
                foreseen = task.watch.total + further
                session.say(f"searching other settings of {method}: about {further:.0f} s")
            search = task.begin(facts, pointer)
            interrupt = task.run(search)
    best = search.best
    if best is None or best.summary is None:
        raise interrupt or _nothing(search, method, seconds)
    took = task.watch.total
    session.say(f"estimated {foreseen:.0f} s, took {took:.0f} s")
    if if_needed and not held:
        say_outcome(search, best)
    if search.stopped:
        command = f"editcore tune {quoted(session.loaded.asked)} --method {method} --seconds N"
        session.say(f"stopped after {took:.0f} s; search further with: {command}")
    undone = failed(search.bench, best)
    about = {
        "facts": task.source,
        **_about(search, task.watch, foreseen, seconds),
        **origin(session, cls, space),
        **({} if task.located is None else {"locator": task.located.about(best.settings)}),
        "defaults": held,
        "interrupted": interrupt is not None,
        "failed": list(undone),
    }
    profile = keep_profile(session, method, name or default_name(space.together), best.settings, about)
    if interrupt is not None:
        session.say(f"stopped: the best settings so far are kept as the profile {profile.name}")
        raise interrupt
    return Tuned(profile, best, tuple(search.trials.values()), tuple(undone), took)


def _foretell(session: "OpenSession", method: str, estimate: Estimate, seconds: float, if_needed: bool) -> float:
    """Say how long it will take; how many seconds that are."""
    model, whole = session.loaded.name, estimate.whole(seconds)
    if not if_needed:
        session.say(f"tuning {method} for {model}: about {whole:.0f} s, at most {seconds:.0f} s")
        return whole
    checking = min(estimate.checking(), seconds)
    session.say(
        f"trying the default settings of {method} on facts that {model} states: about {checking:.0f} s. If they do "
        f"not hold, a search follows; check and search together take about {whole:.0f} s"
    )
    return checking


def _nothing(search: Search, method: str, seconds: float) -> Exception:
    """Why there is no trial to choose."""
    failures = [trial.failure for trial in search.trials.values() if trial.failure]
    if failures:
        return UsageError(f"{method} edits none of the facts: {failures[0]}", hint="give other facts: --cases FILE")
    hint = f"editcore tune {quoted(search.session.loaded.asked)} --method {method} --seconds {10 * seconds:.0f}"
    return TimeUp(f"{seconds:.0f} s are too short for one trial of {method} on this machine", hint=hint)


def _about(search: Search, watch: Watch, foreseen: float, limit: float) -> dict[str, Any]:
    return {
        "n_facts": len(search.bench.cases),
        "together": search.space.together,
        "seed": search.session.seed,
        "seconds": round(watch.total, 1),
        "phases": {phase: round(s, 1) for phase, s in watch.laps.items()},
        "estimate": round(foreseen, 1),
        "limit": limit,
        "stopped": search.stopped,
        "trials": [_row(trial) for trial in search.trials.values()],
    }


def _row(trial: Trial) -> dict[str, Any]:
    measured = attrs.asdict(trial.summary) if trial.summary is not None else {"score": -1.0, "n": 0}
    return {"settings": dict(trial.settings), **measured, "failure": trial.failure}
