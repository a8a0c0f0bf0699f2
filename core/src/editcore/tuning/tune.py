"""`tune`: find the settings of a method for a model, and keep them as a profile."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
from attrs import define, field, frozen

from editcore.editing.compute import Options
from editcore.editing.limits import TimeUp
from editcore.plugins.locators import make_locator
from editcore.tuning.estimate import Estimate
from editcore.tuning.located import Located
from editcore.tuning.own import Facts, own_facts
from editcore.tuning.profiles import Profile, default_name, keep_profile, origin
from editcore.tuning.search import Search, Trial, failed
from editcore.tuning.trial import Bench
from editcore_hooks import Case, UsageError

if TYPE_CHECKING:
    from editcore.editing.session import Session

FACTS: Final = 48
SECONDS: Final = 150.0
"""For all of it, so that a first edit on a small model, with opening it and the edit itself, stays under 3 minutes."""
FACTS_SHARE: Final = 1 / 3
STATISTICS_SHARE: Final = 1 / 2
"""Of the time, or of what is left of it, at most, where the model writes the text by itself."""

CHECKED: Final = 8
"""Facts on which a method's defaults are tried before anything else."""
HOLDS_SCORE: Final = 0.8
HOLDS_TOOK: Final = 0.85
"""From this score, and this share of facts whose new answer is preferred, the defaults need no search."""


@frozen
class Tuned:
    """The profile kept, the trial that won, all trials, and the facts on which the winner's edit did not take."""

    profile: Profile
    best: Trial
    trials: tuple[Trial, ...]
    failed: tuple[str, ...]
    seconds: float


def tune(
    session: "Session",
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
    space = cls.tunable({**session.facts(), "edits": edits})
    if space is None:
        kind = session.model.config.model_type
        raise UsageError(f"{method} has nothing to tune on a {kind} model", hint=f"editcore methods {method}")
    pointer = make_locator(session.registry, locator)
    watch = _Watch()
    search, located, held, interrupt = None, None, False, None
    with session.at_base(), session.recalling():
        estimate = Estimate.of(session, space, facts, CHECKED, bool(cases))
        foreseen = _foretell(session, method, estimate, seconds, if_needed)
        if if_needed:
            found = _facts(session, method, cases, min(facts, CHECKED), seconds)
            search = Search(session, cls, space, Bench.of(session, found.cases, found.text), _options(method), seconds)
            watch.lap("facts")
            held = _defaults_hold(search, watch)
        if not held:
            left = seconds - watch.total
            if if_needed:
                foreseen = watch.total + estimate.whole(max(left, 0.0))
                session.say(f"searching other settings of {method}: about {foreseen - watch.total:.0f} s")
            found = _facts(session, method, cases, facts, left)
            located = None if pointer is None else Located.of(session, pointer, cls, found.cases)
            bench = Bench.of(session, found.cases, found.text)
            watch.lap("facts")
            tried = space if located is None else located.first(space)
            search = Search(session, cls, tried, bench, _options(method), seconds - watch.total)
            try:
                with session.within(search.left * STATISTICS_SHARE):
                    cls.make_ready(session, [search.prepared(arm.settings).method.hparams for arm in search.arms])
                watch.lap("statistics")
                search.run()
            except KeyboardInterrupt as error:
                interrupt = error
            watch.lap("search")
    assert search is not None
    best = search.best
    if best is None or best.summary is None:
        if interrupt is not None:
            raise interrupt
        raise _nothing(search, method, seconds)
    took = watch.total
    session.say(f"estimated {foreseen:.0f} s, took {took:.0f} s")
    if search.stopped:
        session.say(
            f"stopped after {took:.0f} s; editcore tune {session.loaded.name} --method {method} --seconds N "
            "looks further"
        )
    undone = failed(search.bench, best)
    about = {
        "facts": found.source,
        **_about(search, watch, foreseen, seconds),
        **origin(session, cls, space),
        **({} if located is None else {"locator": located.about(best.settings)}),
        "defaults": held,
        "interrupted": interrupt is not None,
        "failed": list(undone),
    }
    profile = keep_profile(session, method, name or default_name(space.together), best.settings, about)
    if interrupt is not None:
        session.say(f"stopped: the best settings so far are kept as the profile {profile.name}")
        raise interrupt
    return Tuned(profile, best, tuple(search.trials.values()), tuple(undone), took)


def _options(method: str) -> Options:
    return Options(method=method)


def _foretell(session: "Session", method: str, estimate: Estimate, seconds: float, if_needed: bool) -> float:
    """Say how long it will take; how many seconds that are."""
    model, whole = session.loaded.name, estimate.whole(seconds)
    if not if_needed:
        session.say(f"tuning {method} for {model}: about {whole:.0f} s, at most {seconds:.0f} s")
        return whole
    checking = min(estimate.checking(), seconds)
    session.say(
        f"trying the default settings of {method} on facts that {model} states: about {checking:.0f} s; where they do "
        f"not hold, others are searched, about {whole:.0f} s in all"
    )
    return checking


def _facts(session: "Session", method: str, cases: Sequence[Case] | None, n: int, seconds: float) -> Facts:
    """The given cases, or at most `n` facts of the model, for which a part of the time is used."""
    if cases:
        return Facts(tuple(cases), "given")
    with session.at_most(seconds), session.within(seconds * FACTS_SHARE):
        try:
            return own_facts(session, n)
        except UsageError as error:
            command = f"editcore tune {session.loaded.name} --method {method} --cases FILE"
            hint = f"{command}, with facts that it knows; or edit with --no-tune"
            raise UsageError(error.message, hint=hint) from None


def _defaults_hold(search: Search, watch: "_Watch") -> bool:
    """Try the defaults on a few facts; whether they are good enough to edit with."""
    trial = search.defaults(CHECKED)
    watch.lap("defaults")
    if trial.summary is None:
        return False
    n, took = len(trial.outcomes), sum(outcome.took for outcome in trial.outcomes)
    held = trial.score >= HOLDS_SCORE and trial.took >= HOLDS_TOOK
    verdict = "hold" if held else "do not hold"
    search.session.say(
        f"the default settings {verdict}: {took} of {n} facts took, score {trial.score:.2f} (enough: {HOLDS_SCORE})"
    )
    return held


def _nothing(search: Search, method: str, seconds: float) -> Exception:
    """Why there is no trial to choose."""
    failures = [trial.failure for trial in search.trials.values() if trial.failure]
    if failures:
        return UsageError(f"{method} edits none of the facts: {failures[0]}", hint="give others: --cases FILE")
    hint = f"editcore tune {search.session.loaded.name} --method {method} --seconds {10 * seconds:.0f}"
    return TimeUp(f"{seconds:.0f} s allow no trial of {method} on this machine", hint=hint)


@define
class _Watch:
    """Seconds of each part, in their order."""

    laps: dict[str, float] = field(factory=dict)
    _last: float = field(factory=time.monotonic)

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = self.laps.get(name, 0.0) + now - self._last
        self._last = now

    @property
    def total(self) -> float:
        return sum(self.laps.values())


def _about(search: Search, watch: _Watch, foreseen: float, limit: float) -> dict[str, Any]:
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
