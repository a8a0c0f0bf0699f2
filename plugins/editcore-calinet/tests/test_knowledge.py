"""CKA by its formula, and what it says of facts that a model knows and of facts that it does not."""

from math import log
from pathlib import Path

import pytest

import editcore
from editcore.authoring.evaluation import Scored
from editcore_calinet.knowledge import OTHER_RELATIONS, SMOOTHING, Known, known
from editcore_hooks import Case, EditRequest


def scored(p: float) -> Scored:
    return Scored((log(p),), (0,), (False,))


def test_the_score_is_the_ratio_of_the_own_relation_to_the_mean_of_the_others() -> None:
    value, shown = known(scored(0.3), scored(0.1), scored(0.3))
    assert value == 1.0
    assert shown["cka"] == pytest.approx((0.3 + SMOOTHING) / (0.2 + SMOOTHING))
    assert known(scored(0.1), scored(0.1), scored(0.3))[0] == 0.0


def test_probabilities_below_the_smoothing_decide_nothing() -> None:
    assert known(scored(1e-12), scored(1e-14))[1]["cka"] == pytest.approx(1.0, abs=1e-5)


def test_each_fact_is_asked_in_its_own_and_in_other_relations_of_its_subject(gpt2_folder: Path) -> None:
    case = Case(EditRequest("{} works as a", "Ada Marlow", "pilot"))
    prompts = [question.prompt for question in Known().questions(case)]
    assert prompts[0] == "Ada Marlow works as a"
    assert len(set(prompts)) == 1 + len(OTHER_RELATIONS)
    assert all("Ada Marlow" in prompt for prompt in prompts)
    (report,) = editcore.open(gpt2_folder).evaluate([case], ["cka.known@1"])
    assert report.n == 1
    assert report.rows[0]["cka"] > 0
