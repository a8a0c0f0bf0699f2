"""Find the settings that suit a model: successive halving over places and recipes together.

All settings are tried on few facts, the better ones on more, the best on all. The method's own defaults are among them,
so that a search never ends below what an edit without it would do. Of settings that the facts cannot tell apart, those
of the place that the method names first are taken, and of these the one that disturbs unrelated text least: neighbours
of a model's own facts are easier to spare than those of a person's, and deep layers look better for it than they are.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen

from editcore.editing.prepared import PreparedMethod
from editcore.plugins.hparams import merge
from editcore.session.limits import TimeUp
from editcore.tuning.arms import Arm, arms
from editcore.tuning.trial import Bench, Outcome, Summary
from editcore_hooks import EditcoreError, EditMethod, Tunable

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

RUNGS: Final = ((4, 8), (12, 4), (24, 2))
"""Facts of each look but the last, which takes all, and how many settings go on after it."""
FIRST_SHARE: Final = 0.6
"""Largest share of the time for the first round: its result must be checked again."""
HOPELESS: Final = 0.25
"""A place is left alone when its best score is this far below the best of all places."""
TIED: Final = 12
"""Facts that two settings must share before they count as equally good."""
SLACK: Final = 0.05
"""Most that a setting may be worse on the target, and still be taken for its place."""


@frozen
class Trial:
    """One setting, what was measured, and on how many facts; `failure` when the method refused it."""

    settings: Mapping[str, Any]
    outcomes: tuple[Outcome, ...] = field(default=(), repr=False)
    failure: str | None = None

    @property
    def summary(self) -> Summary | None:
        return Summary.of(self.outcomes) if self.outcomes else None

    @property
    def score(self) -> float:
        return self.summary.score if self.summary is not None else -1.0

    @property
    def took(self) -> float:
        """The share of facts whose new answer is preferred on the prompt itself."""
        return fmean(outcome.took for outcome in self.outcomes) if self.outcomes else 0.0


@define
class Search:
    """The trials of one method on one bench. Facts are tried in their order, so that a second look goes on."""

    session: "OpenSession"
    method: type[EditMethod]
    space: Tunable
    bench: Bench
    options: Any
    seconds: float
    arms: list[Arm] = field(init=False)
    trials: dict[int, Trial] = field(factory=dict)
    stopped: bool = False
    """Whether something was skipped for lack of time."""
    _started: float = field(init=False)
    _shown: int = 0

    def __attrs_post_init__(self) -> None:
        self.arms = arms(self.space)
        self._started = time.monotonic()

    @property
    def left(self) -> float:
        return self.seconds - (time.monotonic() - self._started)

    def _passed(self) -> int:
        """Whole seconds since this was asked last."""
        before, self._shown = self._shown, int(time.monotonic() - self._started)
        return self._shown - before

    def defaults(self, n: int) -> Trial:
        """Trial of the method's defaults on the first n facts."""
        self._look([0], _whole(self.space, n, len(self.bench.cases)), None)
        return self.trials.get(0, Trial({}))

    def run(self) -> None:
        """Try settings until the last look is done or the time is used up. Every look that begins has its time."""
        facts, alive = len(self.bench.cases), list(range(len(self.arms)))
        self._passed()
        # its limit, not the number of settings, decides how long a search takes
        with self.session.progress(f"tuning {self.method.name}, seconds", round(self.left)) as progress:
            first, keep = RUNGS[0]
            self._look_first(alive, _whole(self.space, first, facts), progress)
            for n, fewer in (*RUNGS[1:], (facts, 1)):
                alive = self._best(alive, keep)
                self._look(alive, _whole(self.space, n, facts), progress)
                keep = fewer

    @property
    def best(self) -> Trial | None:
        """The best setting so far; None where no trial was possible."""
        tried = [arm for arm, trial in self.trials.items() if trial.outcomes]
        return self.trials[self._safest(self._best(tried, len(tried)))] if tried else None

    def prepared(self, settings: Mapping[str, Any]) -> PreparedMethod:
        """The method with these settings, cheaper where that is for trials only."""
        layers = (("trial", {**settings, **self.space.cheaper}),)
        facts = {**self.session.traits(), "edits": self.space.together}
        resolved = merge(self.method.Hparams, ("preset", self.method.preset(facts)), *layers)
        return PreparedMethod(self.method(resolved.hparams), resolved, self.options)

    def _look_first(self, chosen: Sequence[int], n: int, progress: Any) -> None:
        """All settings on few facts; in their order, as many as the time allows, without places that are hopeless."""
        best_of: dict[int, float] = {}
        until = self.left * (1 - FIRST_SHARE)
        for arm in chosen:
            place, recipe = self.arms[arm].place, self.arms[arm].recipe
            if recipe > 0 and best_of.get(place, 0.0) < max(best_of.values()) - HOPELESS:
                continue
            if self.left < until:
                self.stopped = True
                return
            self._look([arm], n, progress)
            if arm in self.trials:
                best_of[place] = max(best_of.get(place, 0.0), self.trials[arm].score)

    def _look(self, chosen: Iterable[int], n: int, progress: Any) -> None:
        """Try settings on the first n facts, as far as they were not yet. Stops when the time is used up."""
        for arm in chosen:
            before = self.trials.get(arm, Trial(self.arms[arm].settings))
            done = len(before.outcomes)
            if done >= n or before.failure:
                continue
            if self.left < 0:
                self.stopped = True
                return
            try:
                with self.session.at_most(self.left):
                    run = self.prepared(before.settings)
                    more = self.bench.outcomes(run, range(done, n), self.space.together)
            except TimeUp:
                self.stopped = True
                return
            except EditcoreError as error:
                self.trials[arm] = Trial(before.settings, failure=error.message)
                continue
            self.trials[arm] = Trial(before.settings, (*before.outcomes, *more))
            if progress is not None:
                progress.advance(self._passed())

    def _best(self, chosen: Iterable[int], n: int) -> list[int]:
        """By score, those seen on most facts first: a setting that saw fewer lost to them or ran out of time."""
        seen = [(arm, self.trials[arm]) for arm in chosen if arm in self.trials and self.trials[arm].outcomes]
        return [arm for arm, _ in sorted(seen, key=lambda pair: (-len(pair[1].outcomes), -pair[1].score))[:n]]

    def _safest(self, ranked: Sequence[int]) -> int:
        """Among the best and all that are as good, one of the place that the method names first;
        of several there the one that disturbs other text least."""
        best = self.trials[ranked[0]].outcomes
        good = [arm for arm in ranked[1:] if as_good(self.trials[arm].outcomes, best)]

        def key(arm: int) -> tuple[int, float]:
            summary = self.trials[arm].summary
            return self.arms[arm].place, summary.kl if summary is not None else math.inf

        return min([ranked[0], *good], key=key)


def as_good(one: Sequence[Outcome], best: Sequence[Outcome]) -> bool:
    """Whether, over the facts that both tried, the mean is within a standard error, and the target hardly worse."""
    pairs = list(zip(one, best, strict=False))
    if len(pairs) < TIED:
        return False
    means, targets = [b.mean - a.mean for a, b in pairs], [b.target - a.target for a, b in pairs]
    return fmean(means) <= _error(means) and fmean(targets) <= min(_error(targets), SLACK)


def _error(differences: Sequence[float]) -> float:
    return stdev(differences) / math.sqrt(len(differences))


def looks(space: Tunable, n: int) -> int:
    """The number of edits that a search on n facts tries if it skips nothing."""
    alive, seen, total = 1 + len(space.places) * len(space.recipes), 0, 0
    for facts, keep in (*RUNGS, (n, 1)):
        size = _whole(space, facts, n)
        total, seen, alive = total + alive * (size - seen), size, min(keep, alive)
    return total


def _whole(space: Tunable, size: int, n: int) -> int:
    """Whole updates, where several facts are edited in one."""
    return min(-(-size // space.together) * space.together, n)


def failed(bench: Bench, trial: Trial) -> Sequence[str]:
    """The facts on which the edit did not take, in words."""
    pairs = zip(bench.cases, trial.outcomes, strict=False)
    return [f"{case.request.rendered().text} … {case.request.target_new}" for case, o in pairs if not o.took]
