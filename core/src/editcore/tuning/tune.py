"""`tune`: find the settings of a method for a model, and keep them as a profile."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
from attrs import define, field, frozen

from editcore.editing.compute import Options
from editcore.plugins.locators import make_locator
from editcore.tuning.estimate import Estimate
from editcore.tuning.facts import FEWEST, own_cases
from editcore.tuning.located import Located
from editcore.tuning.profiles import Profile, default_name, keep_profile, origin
from editcore.tuning.search import Search, Trial, failed
from editcore.tuning.trial import Bench
from editcore_hooks import Case, UsageError

if TYPE_CHECKING:
    from editcore.editing.session import Session

FACTS: Final = 48
SECONDS: Final = 150.0
"""For all of it, so that a first edit on a small model, with opening it and the edit itself, stays under 3 minutes."""

LEAST_STATISTICS: Final = 10.0
"""They are kept, and later edits rest on them: haste in one search must not spoil those."""


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
) -> Tuned:
    """Try the settings that `method` finds worth trying on `cases`, or on at most `facts` facts of the model itself.

    `edits` is how many facts will be written at once; where the method makes a difference, `name` does by default too.
    `seconds` are for everything, facts and statistics included; a first look at every place is always taken, on fewer
    facts where time is short. Where `locator` points is tried first, and alone when time is too short for more. Works
    on the base, whatever patches are on, and says first about how long it will take. Raises `UsageError` when the
    method has nothing to tune or the facts are too few.
    """
    cls = session.registry.method(method)
    space = cls.tunable({**session.facts(), "edits": edits})
    if space is None:
        kind = session.model.config.model_type
        raise UsageError(f"{method} has nothing to tune on a {kind} model", hint=f"editcore methods {method}")
    pointer = make_locator(session.registry, locator)
    watch = _Watch()
    with session.at_base():
        estimate = Estimate.of(session, space, len(cases) if cases else facts, bool(cases))
        foreseen = estimate.total(seconds, LEAST_STATISTICS)
        session.say(f"tuning {method} for {session.loaded.name}: about {foreseen:.0f} s")
        chosen = list(cases) if cases else _own(session, method, _affordable(facts, estimate.facts, seconds))
        located = None if pointer is None else Located.of(session, pointer, cls, chosen)
        bench = Bench.of(session, chosen)
        watch.lap("facts")
        tried = space if located is None else located.first(space)
        search = Search(session, cls, tried, bench, Options(method=method), seconds, alone=located is not None)
        left = seconds - watch.total
        with session.within(max(left - estimate.first, left / 2, LEAST_STATISTICS)):
            cls.make_ready(session, [search.prepared(settings).method.hparams for settings in search.candidates()])
        watch.lap("statistics")
        search.seconds = max(0.0, seconds - watch.total)
        best = search.run()
        watch.lap("search")
    if best.summary is None:
        raise UsageError(f"{method} edits none of the facts: {best.failure}", hint="give others: --cases FILE")
    took = watch.total
    session.say(f"estimated {foreseen:.0f} s, took {took:.0f} s")
    if search.stopped:
        session.say(f"stopped after {took:.0f} s; editcore tune MODEL --method {method} --seconds N looks further")
    undone = failed(bench, best)
    about = {
        "facts": "given" if cases else "of the model itself",
        **_about(search, watch, foreseen, seconds),
        **origin(session, cls, space),
        **({} if located is None else {"locator": located.about(best.settings)}),
        "failed": list(undone),
    }
    profile = keep_profile(session, method, name or default_name(space.together), best.settings, about)
    return Tuned(profile, best, tuple(search.trials.values()), tuple(undone), took)


@define
class _Watch:
    """Seconds of each part, in their order."""

    laps: dict[str, float] = field(factory=dict)
    _last: float = field(factory=time.monotonic)

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name], self._last = now - self._last, now

    @property
    def total(self) -> float:
        return sum(self.laps.values())


def _affordable(facts: int, foreseen: float, seconds: float) -> int:
    """Fewer facts where looking for them would take more than a third of the time."""
    return facts if foreseen <= seconds / 3 else max(min(facts, 2 * FEWEST), int(facts * seconds / 3 / foreseen))


def _own(session: "Session", method: str, facts: int) -> list[Case]:
    try:
        return own_cases(session, facts)
    except UsageError as error:
        hint = f"editcore tune MODEL --method {method} --cases FILE, with facts that it knows; or edit with --no-tune"
        raise UsageError(error.message, hint=hint) from None


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
