"""What follows from the edit, each kind by itself: does the model's own answer have an accepted answer in it?"""

from typing import Any, Final

from attrs import evolve

from editcore.cases.reading import PORTABILITY
from editcore.evaluation.engine.dialogue import Conversation, Row
from editcore.evaluation.engine.questions import Answered, Unanswered
from editcore.evaluation.metrics.conditions import UNMET, met
from editcore.evaluation.metrics.gen1.asking import Gen1
from editcore.evaluation.metrics.rows import judged, probes, test_of
from editcore.text.answers import says
from editcore_hooks import Case, Need, Probe


class OfKind(Gen1):
    """A probe counts only if the unedited model meets its conditions, asked in the same form."""

    facet: str

    def ask(self, case: Case) -> Conversation:
        asked = [probe for _, probe in probes(case, "portability", (self.facet,)) if probe.targets]
        formed = evolve(case, request=evolve(case.request, template=self.template(case.request)))
        holds = yield from met(formed, asked)
        questions = [
            self.answer(case, probe.prompt, names_of(probe)) for probe, held in zip(asked, holds, strict=True) if held
        ]
        answers = iter((yield questions))
        return [
            self._row(case, probe, next(answers) if held else Unanswered(UNMET))
            for probe, held in zip(asked, holds, strict=True)
        ]

    def _row(self, case: Case, probe: Probe, answer: Any) -> Row:
        def judge(answer: Answered) -> tuple[float, dict[str, Any]]:
            return float(gives(probe, answer.text)), {"written": answer.text, "stopped": answer.stopped}

        return judged(case, self.facet, probe.prompt, probe.targets[0], (answer,), judge, **test_of(probe))


def gives(probe: Probe, text: str) -> bool:
    """Whether a text has the probe's full answer in it."""
    return all(says(text, names) for names in (probe.targets, *probe.also))


def names_of(probe: Probe) -> tuple[str, ...]:
    return tuple(name for names in (probe.targets, *probe.also) for name in names)


def _of(facet: str) -> type[OfKind]:
    words = facet.replace("_", " ")
    need = Need(f"a {words} probe with an answer", lambda case: any(p.targets for p in case.portability.get(facet, ())))
    own = {
        "name": f"gen1.port.{facet}@1",
        "summary": f"share of {words} probes whose answer has an accepted answer in it",
        "facet": facet,
        "needs": (need,),
    }
    return type(f"OfKind_{facet}", (OfKind,), own)


METRICS: Final = [_of(facet) for facet in PORTABILITY]
