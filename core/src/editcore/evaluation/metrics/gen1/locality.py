"""Three readings of locality by what the model writes: the same text as before, the same near the edit, still right."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Final

from editcore.cases.reading import LOCALITY
from editcore.evaluation.engine.dialogue import Row
from editcore.evaluation.engine.questions import Answered, Question
from editcore.evaluation.metrics.gen1.asking import Gen1
from editcore.evaluation.metrics.gen1.portability import gives, names_of
from editcore.evaluation.metrics.rows import judged, probes, test_of
from editcore_hooks import Case, Need, Probe, needs

UNKNOWN: Final = "the unedited model does not know the answer"
NEAR: Final = ("neighbour", "other_attribution")
"""Another subject with the same relation, and another relation of the same subject."""


class Agree(Gen1):
    """1[G = G₀], texts without blanks at their ends."""

    name = "gen1.loc.agree@1"
    summary = "share of locality probes with the same answer as the unedited model, letter by letter"
    needs = (needs.LOCALITY,)
    facets: ClassVar[Sequence[str]] = LOCALITY

    def asked(self, case: Case) -> list[tuple[str, Probe]]:
        return probes(case, "locality", self.facets)

    def questions(self, case: Case) -> Sequence[Question]:
        return [
            self.answer(case, probe.prompt, names_of(probe), unedited=unedited)
            for _, probe in self.asked(case)
            for unedited in (True, False)
        ]

    def judgement(self, case: Case, answers: Sequence[Any]) -> list[Row]:
        rows = []
        for (facet, probe), *pair in zip(self.asked(case), answers[::2], answers[1::2], strict=True):
            target = probe.targets[0] if probe.targets else None
            rows.append(judged(case, facet, probe.prompt, target, pair, partial(self.judge, probe), **test_of(probe)))
        return rows

    def judge(self, probe: Probe, before: Answered, after: Answered) -> tuple[float | None, dict[str, Any]]:
        return float(before.text.strip() == after.text.strip()), _shown(before, after)


class Near(Agree):
    name = "gen1.loc.near@1"
    summary = "gen1.loc.agree@1 near the edit: of other subjects of the relation, and other relations of the subject"
    needs = (Need("a probe near the edit", lambda case: any(case.locality.get(facet) for facet in NEAR)),)
    facets = NEAR


class Correct(Agree):
    """score(G) over the probes with score(G₀) = 1; the mean of score(G) - score(G₀) is this less 1."""

    name = "gen1.loc.correct@1"
    summary = "share of locality probes that the unedited model answers right which are still answered right"
    needs = (needs.LOCALITY_ANSWER,)

    def asked(self, case: Case) -> list[tuple[str, Probe]]:
        return [(facet, probe) for facet, probe in super().asked(case) if probe.targets]

    def judge(self, probe: Probe, before: Answered, after: Answered) -> tuple[float | None, dict[str, Any]]:
        if not gives(probe, before.text):
            return None, {**_shown(before, after), "why": UNKNOWN}
        return float(gives(probe, after.text)), _shown(before, after)


def _shown(before: Answered, after: Answered) -> dict[str, Any]:
    return {"written_unedited": before.text, "written": after.text}


def _of_facet(metric: type[Agree], facet: str) -> type[Agree]:
    words = f"a {facet.replace('_', ' ')} probe{' with an answer' if metric is Correct else ''}"
    need = Need(words, lambda case: any(p.targets or metric is Agree for p in case.locality.get(facet, ())))
    own = {
        "name": metric.name.replace("@", f".{facet}@"),
        "summary": f"{metric.name} of {facet.replace('_', ' ')} probes",
        "facets": (facet,),
        "needs": (need,),
    }
    return type(f"{metric.__name__}_{facet}", (metric,), own)


_READINGS: Final[tuple[type[Agree], ...]] = (Agree, Correct)
METRICS: Final[list[type[Agree]]] = [
    Near,
    *(of for metric in _READINGS for of in (metric, *(_of_facet(metric, facet) for facet in LOCALITY))),
]
