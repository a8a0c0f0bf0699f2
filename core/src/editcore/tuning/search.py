"""Which settings suit a model: places by one recipe, the best places by every recipe, the best of each on more facts.

Of settings that the facts cannot tell apart, those of the place that the method names first are taken, and of these the
one that disturbs unrelated text least. The neighbours of a model's own facts are easier to spare than those of a
person's, and deep layers look better for it than they are.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen

from editcore.editing.compute import Run
from editcore.plugins.hparams import merge
from editcore.tuning.trial import Bench, Outcome, Summary
from editcore_hooks import EditcoreError, EditMethod, Tunable

if TYPE_CHECKING:
    from editcore.editing.session import Session

FEW: Final = 12
SOME: Final = 24
"""Facts of a first and a second look; the last look takes all."""
PLACES: Final = 3
LEAST: Final = 4
"""Facts by which a place is judged at the least, and by which the time of a trial is measured."""


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


@define
class Search:
    """The trials of one method on one bench. Facts are tried in their order, so that a second look goes on."""

    session: "Session"
    method: type[EditMethod]
    space: Tunable
    bench: Bench
    options: Any
    seconds: float
    alone: bool = False
    """Whether the first place may go on alone, where time is too short for a look at the others."""
    trials: dict[int, Trial] = field(factory=dict)
    stopped: bool = False
    """Whether something was left out for want of time."""
    _started: float = 0.0

    def candidates(self) -> list[dict[str, Any]]:
        """Every place with every recipe; those of one place together, in the order of the recipes."""
        return [{**place, **recipe} for place in self.space.places for recipe in self.space.recipes]

    def run(self) -> Trial:
        """The best setting. Later looks are left out when the time is used up; the first sees every place, on fewer
        facts where that is all that the time allows."""
        self._started = time.monotonic()
        recipes, n = len(self.space.recipes), len(self.bench.cases)
        few, some = first_looks(self.space, n)
        with self.session.progress("tuning", looks(self.space, n)) as progress:
            first = [place * recipes for place in range(len(self.space.places))]
            self._look(first[:1], least_looks(self.space, n), progress, always=True)
            first, few = self._affordable(first, few)
            self._look(first, few, progress, always=True)
            places = list(dict.fromkeys(candidate // recipes for candidate in self._best(first, PLACES)))
            # recipe by recipe: a search that is stopped has seen the same ones everywhere
            second = [place * recipes + recipe for recipe in range(recipes) for place in places]
            self._look(second, few, progress)
            third = self._best_of_places(second, places, 2)
            self._look(third, some, progress)
            last = self._best_of_places(third, places, 1)
            self._look(last, n, progress)
        return self.trials[self._safest(self._best(self.trials, PLACES))]

    def _affordable(self, first: list[int], few: int) -> tuple[list[int], int]:
        """What a first look can be: all places on fewer facts, or one alone, by the time that the first has taken."""
        least = least_looks(self.space, len(self.bench.cases))
        elapsed = time.monotonic() - self._started
        fitting = int((self.seconds - elapsed) / max(elapsed / least, 1e-9) / len(first))
        if fitting >= few:
            return first, few
        self.stopped = True
        if fitting < least and self.alone:
            return first[:1], few
        return first, max(least, fitting - fitting % self.space.together)

    def _look(self, chosen: Iterable[int], n: int, progress: Any, *, always: bool = False) -> None:
        """Try settings on the first n facts, as far as they were not yet."""
        every = self.candidates()
        for candidate in chosen:
            before = self.trials.get(candidate)
            done = len(before.outcomes) if before is not None else 0
            if done >= n or (before is not None and before.failure):
                continue
            if not always and time.monotonic() - self._started > self.seconds:
                self.stopped = True
                return
            progress.advance(n - done)
            try:
                more = self.bench.outcomes(self.prepared(every[candidate]), range(done, n), self.space.together)
            except EditcoreError as error:
                self.trials[candidate] = Trial(every[candidate], failure=error.message)
                continue
            self.trials[candidate] = Trial(every[candidate], (*(before.outcomes if before else ()), *more))

    def prepared(self, settings: Mapping[str, Any]) -> Run:
        """The method with these settings, cheaper where that is for trials only."""
        layers = (("trial", {**settings, **self.space.cheaper}),)
        facts = {**self.session.facts(), "edits": self.space.together}
        resolved = merge(self.method.Hparams, ("preset", self.method.preset(facts)), *layers)
        return Run(self.method(resolved.hparams), resolved, self.options)

    def _best_of_places(self, chosen: Iterable[int], places: Iterable[int], n: int) -> list[int]:
        """The n best recipes of each place: else one place could fill the last looks by itself."""
        candidates, recipes = list(chosen), len(self.space.recipes)
        return [c for place in places for c in self._best([c for c in candidates if c // recipes == place], n)]

    def _safest(self, ranked: Sequence[int]) -> int:
        """Of the best, which is the first, and of all that are within one standard error of it, one of the place that
        the method names first; of several there the one that disturbs other text least."""
        best = self.trials[ranked[0]]
        good = [c for c in ranked[1:] if self.trials[c].outcomes and _as_good(self.trials[c].outcomes, best.outcomes)]

        def key(candidate: int) -> tuple[int, float]:
            summary = self.trials[candidate].summary
            return candidate // len(self.space.recipes), summary.kl if summary is not None else math.inf

        return min([ranked[0], *good], key=key)

    def _best(self, chosen: Iterable[int], n: int) -> list[int]:
        """By score on as many facts as all of them saw: a setting that saw more is not favoured for it."""
        seen = [(candidate, self.trials[candidate]) for candidate in chosen if candidate in self.trials]
        shared = max((len(trial.outcomes) for _, trial in seen), default=0)
        widest = [pair for pair in seen if len(pair[1].outcomes) == shared]
        if len(widest) < n:
            fewest = min((len(t.outcomes) for _, t in seen if t.outcomes), default=0)
            widest = [(c, Trial(t.settings, t.outcomes[:fewest])) for c, t in seen if t.outcomes]
        return [candidate for candidate, _ in sorted(widest, key=lambda pair: -pair[1].score)[:n]]


def _as_good(one: Sequence[Outcome], best: Sequence[Outcome]) -> bool:
    """Whether the mean difference over the facts that both tried is below its standard error."""
    differences = [b.mean - a.mean for a, b in zip(one, best, strict=False)]
    if len(differences) < 2:
        return False
    return fmean(differences) <= stdev(differences) / math.sqrt(len(differences))


def first_looks(space: Tunable, n: int) -> tuple[int, int]:
    """Facts of the first and of the second look, of n: whole updates, where several are edited in one."""
    few, some = (_whole(space, size, n) for size in (FEW, SOME))
    return few, some


def least_looks(space: Tunable, n: int) -> int:
    """Facts of the shortest look at a place, of n."""
    return _whole(space, LEAST, n)


def _whole(space: Tunable, size: int, n: int) -> int:
    return min(-(-size // space.together) * space.together, n)


def looks(space: Tunable, n: int) -> int:
    """How many edits a search on n facts tries when nothing is left out."""
    few, some = first_looks(space, n)
    places = min(PLACES, len(space.places))
    first = len(space.places) * few
    second = places * (len(space.recipes) - 1) * few
    return first + second + 2 * places * (some - few) + places * (n - some)


def failed(bench: Bench, trial: Trial) -> Sequence[str]:
    """The facts on which the edit did not take, in words."""
    pairs = zip(bench.cases, trial.outcomes, strict=False)
    return [f"{case.request.rendered().text} … {case.request.target_new}" for case, o in pairs if not o.took]
