"""Find the patch of a stack that broke a fact: bisection over the order of applying, in memory.

A case that holds after k patches and fails after all of them fails first somewhere in between, and about log2(n)
models find where. With effects that come and go that is one such place and not the only one; so the culprit is taken
out of the whole stack alone, and a patch is blamed only if removing it fixes the case.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import attrs
from attrs import define, field, frozen

from editcore.cases.reading import parse_case
from editcore.patches.change.conflicts import facts_of
from editcore.text.ids import short
from editcore_hooks import Case
from editcore_hooks.requests import TargetPrefix

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

Status = Literal["holds", "broken", "interaction", "never held"]


@frozen
class Verdict:
    """The result for a case, or for a question `about` it: `edit`, `rephrase`, or the facet of a probe.

    `broken`: without `patch` alone it holds. `interaction`: `patch` is where it first fails in this order, but the
    others break it as well. `never held`: neither on the base nor after the patch that was made for it.
    """

    case: str
    prompt: str
    target: str
    status: Status
    patch: str | None = None
    title: str = ""
    about: str = "edit"


@frozen
class Findings:
    """A verdict a question, and how many models (sets of patches) were evaluated."""

    verdicts: tuple[Verdict, ...]
    evaluations: int


@frozen
class _Asked:
    """One question about a case and the answer that should hold."""

    case: Case
    about: str
    prompt: str
    target: str
    prefix: TargetPrefix


def blame(session: "OpenSession", cases: Sequence[Case], probes: bool = False) -> Findings:
    """Find what broke each of `cases` among the patches on `session`; the model is afterwards as it was before.

    With `probes` also their rephrases, which should get the new target, and their probes with a target of their own. A
    question holds when every token of its target is the likeliest one after its prompt.
    """
    trial = _Trial(session, [one for case in cases for one in _questions(case, probes)])
    return Findings(tuple(_blame(trial, i, one) for i, one in enumerate(trial.asked)), trial.evaluations)


def _questions(case: Case, probes: bool) -> Iterator[_Asked]:
    request = case.request
    yield _Asked(case, "edit", request.rendered().text, request.target_new, request.target_prefix)
    if not probes:
        return
    for text in case.rephrases:
        yield _Asked(case, "rephrase", text, request.target_new, request.target_prefix)
    for group in (case.locality, case.portability):
        for facet, asked in group.items():
            for probe in asked:
                if probe.targets:  # others are compared with the unedited model, and have nothing that should hold
                    yield _Asked(case, facet, probe.prompt, probe.targets[0], "auto")


def own_cases(session: "OpenSession") -> list[Case]:
    """The requests that the patches on `session` were made from, as cases; none of what was redacted."""
    cases = []
    for patch in session.live.patches:
        requests = patch.about.get("requests")
        for row in requests if isinstance(requests, list) else ():
            case = parse_case(row, f"a request of patch {short(patch.patch_id)}")
            request = attrs.evolve(case.request, id=f"{short(patch.patch_id)}/{case.request.id}")
            cases.append(attrs.evolve(case, request=request))
    return cases


@define
class _Trial:
    """Questions that hold under a set of patches; each set is evaluated once, for all questions."""

    session: "OpenSession"
    asked: Sequence[_Asked]
    _known: dict[frozenset[str], list[bool]] = field(factory=dict)

    @property
    def order(self) -> tuple[str, ...]:
        return self.session.live.ids

    @property
    def evaluations(self) -> int:
        return len(self._known)

    def holds(self, number: int, ids: Sequence[str]) -> bool:
        present = frozenset(ids)
        if present not in self._known:
            with self.session.live.only(present):
                asked = [(one.prompt, one.target, one.case.request.template, one.prefix) for one in self.asked]
                self._known[present] = [all(score.hits) for score in self.session.score_targets(asked)]
        return self._known[present][number]


def _blame(trial: _Trial, number: int, asked: _Asked) -> Verdict:
    order = trial.order
    alone = Verdict(asked.case.request.id, asked.prompt, asked.target, "holds", about=asked.about)
    if trial.holds(number, order):
        return alone
    good = _held(trial, number, asked.case)
    if good is None:
        return attrs.evolve(alone, status="never held")
    bad = len(order)
    while bad - good > 1:  # it holds after `good` patches and fails after `bad`
        middle = (good + bad) // 2
        if trial.holds(number, order[:middle]):
            good = middle
        else:
            bad = middle
    culprit = order[bad - 1]
    mended = trial.holds(number, [patch_id for patch_id in order if patch_id != culprit])
    titles: Mapping[str, str] = {patch.patch_id: patch.title for patch in trial.session.live.patches}
    return attrs.evolve(alone, status="broken" if mended else "interaction", patch=culprit, title=titles[culprit])


def _held(trial: _Trial, number: int, case: Case) -> int | None:
    """After how many patches the question is known to hold: none, or as many as reach the last that was made for it."""
    if trial.holds(number, ()):
        return 0
    prompt, target = case.request.rendered().text, case.request.target_new.strip()
    made = [
        i for i, patch in enumerate(trial.session.live.patches, 1) if facts_of(patch).get(prompt, "").strip() == target
    ]
    return next((count for count in reversed(made) if trial.holds(number, trial.order[:count])), None)
