"""The parts of tuning in their order, within one limit of time: facts, the defaults, statistics, the search."""

import time
from typing import TYPE_CHECKING, Final

from attrs import define, field

from editcore.editing.prepared import EditOptions
from editcore.text.shell import quoted
from editcore.tuning.located import Located
from editcore.tuning.own import Facts, own_facts
from editcore.tuning.search import Search
from editcore.tuning.trial import Bench, shown
from editcore_hooks import Case, EditMethod, Locator, Tunable, UsageError

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

FACTS_SHARE: Final = 1 / 3
STATISTICS_SHARE: Final = 1 / 2
"""Largest share of the time left, if the model writes the text itself."""

CHECK_SHARE: Final = 1 / 4
"""Largest share of the time before the second half of the facts for the defaults."""
CHECKED: Final = 8
"""Facts on which a method's defaults are tried before anything else."""
CLEAR_SCORE: Final = 0.95
"""From this score half of them are enough."""
HOLDS_SCORE: Final = 0.8
HOLDS_TOOK: Final = 0.85
"""From this score, and this share of facts whose new answer is preferred, the defaults need no search."""


@define
class Watch:
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


@define
class Task:
    """The parts of tuning in their order, and what each of them took."""

    session: "OpenSession"
    cls: type[EditMethod]
    space: Tunable
    given: tuple[Case, ...]
    seconds: float
    watch: Watch = field(factory=Watch)
    source: str = ""
    located: Located | None = None

    @property
    def left(self) -> float:
        return self.seconds - self.watch.total

    def begin(self, n: int, pointer: Locator | None = None) -> Search:
        """A search on the given cases, or on at most n facts of the model, that has tried nothing yet."""
        facts = Facts(self.given, "given") if self.given else self._own(n)
        space = self.space
        if pointer is not None:
            self.located = Located.of(self.session, pointer, self.cls, facts.cases)
            space = self.located.first(space)
        bench = Bench.of(self.session, facts.cases, facts.text)
        self.source = facts.source
        self.watch.lap("facts")
        return Search(
            self.session,
            self.cls,
            space,
            bench,
            EditOptions(method=self.session.registry.methods.written(self.cls)),
            self.left,
        )

    def defaults_hold(self, search: Search) -> bool:
        """Try the defaults on a few facts; whether they are good enough to edit with."""
        trial = search.defaults(CHECKED // 2)
        self.watch.lap("defaults")
        clear = trial.score >= CLEAR_SCORE and trial.took == 1.0
        # clear outcomes need no more facts, and a slow or busy machine decides on half of them
        if not clear and self.watch.total < self.seconds * CHECK_SHARE:
            trial = search.defaults(CHECKED)
            self.watch.lap("defaults")
        if trial.summary is None:
            return False
        n, took = len(trial.outcomes), sum(outcome.took for outcome in trial.outcomes)
        held = trial.score >= HOLDS_SCORE and trial.took >= HOLDS_TOOK
        verdict = "hold" if held else "do not hold"
        score = f"score {shown(trial.score)} (enough: {HOLDS_SCORE})"
        self.session.say(f"the default settings {verdict}: {took} of {n} facts took, {score}")
        return held

    def run(self, search: Search) -> KeyboardInterrupt | None:
        """Collect statistics and search; the interrupt that stopped it, if any did."""
        try:
            with self.session.within(search.left * STATISTICS_SHARE):
                hparams = [search.prepared(arm.settings).method.hparams for arm in search.arms]
                self.cls.make_ready(self.session, hparams)
            self.watch.lap("statistics")
            search.run()
        except KeyboardInterrupt as error:
            return error
        finally:
            self.watch.lap("search")
        return None

    def _own(self, n: int) -> Facts:
        with self.session.at_most(self.left), self.session.within(self.left * FACTS_SHARE):
            try:
                return own_facts(self.session, n)
            except UsageError as error:
                command = f"editcore tune {quoted(self.session.loaded.asked)} --method {self.cls.name} --cases FILE"
                hint = f"{command}, with facts that it knows; or edit with --no-tune"
                raise UsageError(error.message, hint=hint) from None
