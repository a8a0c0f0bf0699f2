"""zsRE in MEND's layout."""

from typing import Literal

from attrs import frozen, validators

from editcore_bench.datasets.layout import Layout, LayoutHparams
from editcore_bench.datasets.record import Record
from editcore_bench.datasets.subjects import marked
from editcore_hooks import Case, EditRequest, Probe, hparam


@frozen
class ZsreHparams(LayoutHparams):
    target: Literal["alt", "answer"] = hparam(
        "alt",
        help="new target: `alt`, a wrong answer, as EasyEdit does; `answer`, the right one, as ROME and MEMIT do",
        validator=validators.in_(("alt", "answer")),
    )


class Zsre(Layout):
    """The question outside the edit's scope is a Natural Questions one, kept with its prefix `nq question:`.

    It shares neither relation nor object with the edit, so it is an `other_task` and no `neighbour`: whether its answer
    is preferred to the new target says nothing.

    ROME and MEMIT write the right answer, EasyEdit the wrong one: their figures cannot be compared.
    """

    name = "zsre"
    summary = "question answering with one rephrase and one unrelated question each (MEND's layout)"
    paper = "Levy et al. 2017, arXiv:1706.04115; Mitchell et al. 2022, arXiv:2110.11309"
    files = "zsre_mend_train.json, zsre_mend_eval.json, zsre_mend_edit.json, zsre_mend_eval_portability_gpt4.json"
    keys = ("subject", "src", "rephrase", "alt", "answers", "loc", "loc_ans")
    Hparams = ZsreHparams

    def case(self, record: Record, id: str) -> Case | None:
        answers = record.texts("answers")
        if self.hparams.target == "answer":
            new, true, accepted = (answers or (None,))[0], None, answers[1:]
        else:
            new, true, accepted = record.text_or_none("alt"), (answers or (None,))[0], ()
        if new is None:
            key = "alt" if self.hparams.target == "alt" else "answers"
            self.leave_out(record, f"{key!r} is empty, so there is nothing to write")
            return None
        prompt, subject = marked(record, "src", "subject")
        return Case(
            EditRequest(prompt, subject, new, true, id=id),
            record.texts("rephrase"),
            {"other_task": (Probe(record.text("loc"), record.texts("loc_ans")),)},
            self._portability(record),
            accepted=accepted,
        )

    def _portability(self, record: Record) -> dict[str, tuple[Probe, ...]]:
        if record.value.get("portability") is None:
            return {}
        question = record.record("portability")
        return {"one_hop": (Probe(question.text("New Question"), question.some_texts("New Answer")),)}
