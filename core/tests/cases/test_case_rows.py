"""What a case holds beyond prompts and targets, and the way to a row and back."""

import json
from typing import Any

import pytest

from editcore.cases.reading import parse_case
from editcore.cases.writing import case_to_json
from editcore_hooks import Case, ChatTemplate, EditRequest, Probe, UsageError

KNOWN = Probe("The land of Lorn is", ("Tarnia",), (("Vell", "the Vell"),))
CASE = Case(
    EditRequest("{} is led by", "Lorn", "Ada {Voss}", "Bo Kell", id="m-1", template=ChatTemplate(system="Be brief.")),
    ("The head of Lorn, {so called}, is",),
    {"neighbour": (Probe("Tarnia is led by", ("Bo Kell",)),), "forgetfulness": ()},
    {
        "multi_hop": (
            Probe("Where was the head of Lorn born?", ("Oss",), (), (KNOWN,), "chain", "any"),
            Probe("In which town was Lorn's head born?", ("Oss", "Ossum"), (), (KNOWN,), "chain", "any"),
        )
    },
    (EditRequest("{} was born in", "Ada {Voss}", "Oss", id="m-1+1"),),
    ("My favourite {thing} of Lorn is",),
    ("A. Voss", "Ada the {Elder}"),
)
ROW: dict[str, Any] = {"prompt": "{} is led by", "subject": "Lorn", "target_new": "Ada Voss"}


def test_a_case_survives_the_way_through_json_whole() -> None:
    read = parse_case(json.loads(json.dumps(case_to_json(CASE))), "there")
    assert read.request == CASE.request
    assert read.requests == CASE.requests
    assert (read.rephrases, read.generation) == (CASE.rephrases, CASE.generation)
    assert read.accepted == CASE.accepted
    assert read.portability == CASE.portability
    assert read.locality == {"neighbour": CASE.locality["neighbour"]}


def test_what_is_empty_takes_no_room() -> None:
    assert case_to_json(Case(EditRequest("{} speaks", "Ada", "Dutch", id="a"))).keys() == {
        "id", "prompt", "subject", "target_new", "target_true",
    }  # fmt: skip


def test_facts_written_together_get_the_id_of_their_case() -> None:
    case = parse_case({**ROW, "id": "m", "together": [{**ROW, "subject": "Oss"}]}, "here")
    assert [request.id for request in case.requests] == ["m", "m+1"]
    assert [request.rendered().text for request in case.requests] == ["Lorn is led by", "Oss is led by"]


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ({"rule": "some"}, r"inverse\[0\]: 'group' must be a text and 'rule' one of all, any"),
        ({"also": ["Tarn"]}, "'also' must be a list of lists of texts"),
        ({"conditions": {"prompt": "x"}}, "'conditions' must be a list of probes"),
        ({"conditions": [{"prompt": "x", "rule": "any"}]}, r"inverse\[0\].conditions\[0\]: unknown key 'rule'"),
        ({"conditions": ["x"]}, r"conditions\[0\] is not an object"),
        ({"conditionz": []}, "did you mean 'conditions'"),
    ],
)
def test_a_probe_that_does_not_fit_is_refused_with_its_place(probe: dict[str, Any], message: str) -> None:
    row = {**ROW, "portability": {"inverse": [{"prompt": "Who leads Lorn?", "target": "Ada Voss", **probe}]}}
    with pytest.raises(UsageError, match=message):
        parse_case(row, "cases.jsonl, line 1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"together": ROW}, "'together' must be a list of requests"),
        ({"together": ["x"]}, r"line 1, together\[0\] is not an object"),
        ({"together": [{**ROW, "rephrases": []}]}, r"line 1, together\[0\]: unknown key 'rephrases'"),
        ({"together": [{"prompt": "{} x"}]}, r"together\[0\]: 'subject' must be a text"),
        ({"accepted": "A. Voss"}, "'accepted' must be a list of texts"),
        ({"generation": "one"}, "'generation' must be a list of texts"),
    ],
)
def test_a_case_that_does_not_fit_is_refused_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_case({**ROW, **change}, "cases.jsonl, line 1")


def test_conditions_are_flat_and_rules_known_in_python_too() -> None:
    with pytest.raises(UsageError, match="has conditions itself"):
        Probe("a", conditions=(Probe("b", conditions=(KNOWN,)),))
    with pytest.raises(UsageError, match="not one of all, any"):
        Probe("a", rule="some")  # type: ignore[arg-type]
