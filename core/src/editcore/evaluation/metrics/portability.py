"""Consequences of an edit: other names of the subject, further facts, the relation the other way round.

After Yao et al. 2023 and Cohen et al. 2024 (RippleEdits). A probe with conditions counts only where the unedited model
meets every one of them: what it cannot answer anyway says nothing of the edit.
"""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any, ClassVar, Final

from editcore.cases.reading import PORTABILITY
from editcore.evaluation.engine.dialogue import Conversation, DialogueMetric
from editcore.evaluation.engine.questions import Question, Unanswered, score
from editcore.evaluation.metrics.conditions import UNMET, met, names, said
from editcore.evaluation.metrics.generated import TOKENS
from editcore.evaluation.metrics.rows import judged, probes, test_of
from editcore.evaluation.metrics.teacher_forced import best
from editcore_hooks import Case, Need, Probe
from editcore_hooks.needs import PORTABILITY_ANSWER

POOLED: Final = tuple(facet for facet in PORTABILITY if facet != "hop")
"""`hop` asks for the links of a chain that `multi_hop` asks for whole."""


class Portability(DialogueMetric):
    """Teacher-forced, as the field's tables are; of several accepted answers the one that fares best."""

    facets: ClassVar[Sequence[str]] = POOLED
    name = "port.all@1"
    summary = "share of tokens of the answers that follow from the edit which are the arg-max, teacher-forced"
    needs = (PORTABILITY_ANSWER,)
    usual = True

    def ask(self, case: Case) -> Conversation:
        every = [(facet, probe) for facet, probe in probes(case, "portability", self.facets) if probe.targets]
        holds = yield from met(case, [probe for _, probe in every])
        counting = [probe for (_, probe), held in zip(every, holds, strict=True) if held]
        answers = iter((yield list(chain.from_iterable(self.asked(case, probe) for probe in counting))))
        rows = []
        for (facet, probe), held in zip(every, holds, strict=True):
            own = [next(answers) for _ in self.asked(case, probe)] if held else [Unanswered(UNMET)]
            judge = partial(self.judge, probe)
            rows.append(judged(case, facet, probe.prompt, probe.targets[0], own, judge, **test_of(probe)))
        return rows

    def asked(self, case: Case, probe: Probe) -> Sequence[Question]:
        return [score(case, probe.prompt, target) for target in probe.targets]

    def judge(self, probe: Probe, *answers: Any) -> tuple[float, dict[str, Any]]:
        """The value by the answers to `asked`, and what the row shows besides."""
        return best(*answers)


class WrittenPortability(Portability):
    """By what the model writes: an accepted answer, and one of each set that the probe asks for also."""

    name = "port.gen.all@2"
    usual = False
    summary = f"share of probes of what follows from the edit that the next {TOKENS} tokens answer"

    def asked(self, case: Case, probe: Probe) -> Sequence[Question]:
        return [said(case, probe)]

    def judge(self, probe: Probe, *answers: Any) -> tuple[float, dict[str, Any]]:
        (text,) = answers
        return float(names(text, probe)), {"written": text}


def _of_facet(metric: type[Portability], facet: str) -> type[Portability]:
    name = metric.name.replace(".all@", f".{facet}@")
    summary = f"{metric.name} of {facet.replace('_', ' ')} probes"
    words = f"a {facet.replace('_', ' ')} probe with an answer"
    need = Need(words, lambda case: any(one.targets for one in case.portability.get(facet, ())))
    own = {"name": name, "summary": summary, "facets": (facet,), "usual": False, "needs": (need,)}
    return type(f"{metric.__name__}_{facet}", (metric,), own)


_KINDS: Final[tuple[type[Portability], ...]] = (Portability, WrittenPortability)
METRICS: Final = [of for kind in _KINDS for of in (kind, *(_of_facet(kind, facet) for facet in PORTABILITY))]
