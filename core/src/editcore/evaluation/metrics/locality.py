"""Locality: agreement with the unedited model, correctness, and divergence.

Facets after Yao et al. 2023, section 5: other subjects (`neighbour`), other relations of the subject
(`other_attribution`), other subjects after a statement of the edit (`distract_neighbour`), other tasks (`other_task`).
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from editcore.cases.reading import LOCALITY
from editcore.evaluation.engine.dialogue import Conversation, DialogueMetric, Row
from editcore.evaluation.engine.questions import Drift, Question, Scored, Unanswered, score
from editcore.evaluation.metrics.conditions import UNMET, met
from editcore.evaluation.metrics.rows import judged, probes, test_of
from editcore.evaluation.metrics.teacher_forced import best
from editcore_hooks import Case, Need, needs


class Locality(DialogueMetric):
    """Over the probes of some facets; a case's probes of all of them count alike."""

    facets: ClassVar[Sequence[str]] = LOCALITY


class Agreement(Locality):
    """At each position of the probe's first target, or at the one after a prompt without target."""

    name = "loc.agree@1"
    summary = "share of target positions of locality probes at which the unedited model's arg-max stands"
    needs = (needs.LOCALITY,)
    usual = True

    def questions(self, case: Case) -> Sequence[Question]:
        return [
            score(case, probe.prompt, _first(probe.targets), unedited=unedited)
            for _, probe in probes(case, "locality", self.facets)
            for unedited in (True, False)
        ]

    def judgement(self, case: Case, answers: Sequence[Any]) -> list[Row]:
        asked = probes(case, "locality", self.facets)
        return [
            judged(case, facet, probe.prompt, _first(probe.targets), pair, _agreement, **test_of(probe))
            for (facet, probe), *pair in zip(asked, answers[::2], answers[1::2], strict=True)
        ]


class Correctness(Locality):
    """Teacher-forced share of tokens; of several accepted answers the one that fares best.

    A probe whose conditions the unedited model does not meet does not count, as in portability. Agreement and
    divergence compare with that model itself and have no need of it.
    """

    name = "loc.correct@1"
    summary = "share of tokens of the true answers of locality probes that are the arg-max, teacher-forced"
    needs = (needs.LOCALITY_ANSWER,)

    def ask(self, case: Case) -> Conversation:
        asked = [(facet, probe) for facet, probe in probes(case, "locality", self.facets) if probe.targets]
        holds = yield from met(case, [probe for _, probe in asked])
        counting = [probe for (_, probe), held in zip(asked, holds, strict=True) if held]
        answers = iter((yield [score(case, probe.prompt, target) for probe in counting for target in probe.targets]))
        rows = []
        for (facet, probe), held in zip(asked, holds, strict=True):
            own = [next(answers) for _ in probe.targets] if held else [Unanswered(UNMET)]
            rows.append(judged(case, facet, probe.prompt, probe.targets[0], own, best, **test_of(probe)))
        return rows


class Divergence(Locality):
    """KL(unedited ‖ edited) of the next token after the probe's prompt, in nats.

    `editcore.models.running.top_k_distribution` says how.
    """

    name = "loc.kl@1"
    summary = "divergence of the next token after locality probes from the unedited model's, in nats"
    needs = (needs.LOCALITY,)
    usual = True
    better = "lower"
    share = False

    def questions(self, case: Case) -> Sequence[Question]:
        return [Drift(probe.prompt, case.request.template) for _, probe in probes(case, "locality", self.facets)]

    def judgement(self, case: Case, answers: Sequence[Any]) -> list[Row]:
        return [
            judged(case, facet, probe.prompt, _first(probe.targets), (kl,), lambda kl: (kl, {}))
            for (facet, probe), kl in zip(probes(case, "locality", self.facets), answers, strict=True)
        ]


def _agreement(before: Scored, after: Scored) -> tuple[float, dict[str, Any]]:
    same = [old == new for old, new in zip(before.said, after.said, strict=True)]
    return sum(same) / len(same), {}


def _first(targets: Sequence[str]) -> str | None:
    return targets[0] if targets else None


def _of_facet(metric: type[Locality], facet: str) -> type[Locality]:
    name = metric.name.replace("@", f".{facet}@")
    summary = f"{metric.name} of {facet.replace('_', ' ')} probes"
    own = {"name": name, "summary": summary, "facets": (facet,), "usual": False, "needs": (_need(metric, facet),)}
    return type(f"{metric.__name__}_{facet}", (metric,), own)


def _need(metric: type[Locality], facet: str) -> Need:
    answered = metric.needs == (needs.LOCALITY_ANSWER,)
    words = f"a {facet.replace('_', ' ')} probe{' with an answer' if answered else ''}"
    return Need(words, lambda case: any(one.targets or not answered for one in case.locality.get(facet, ())))


METRICS: Final[list[type[Locality]]] = [
    of
    for metric in (Agreement, Correctness, Divergence)
    for of in (metric, *(_of_facet(metric, facet) for facet in LOCALITY))
]
