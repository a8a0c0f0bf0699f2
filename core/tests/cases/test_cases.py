import json
from typing import Any

import pytest

from editcore.cases.reading import identified, parse_case, read_cases, request_to_json
from editcore_hooks import Case, ChatTemplate, EditRequest, Probe, UsageError

ROW: dict[str, Any] = {
    "id": "cf-0",
    "prompt": "The mother tongue of {} is",
    "subject": "Ada Voss",
    "target_new": "Lorish",
    "target_true": "Tarn",
    "rephrases": ["{} is a native speaker of"],
    "locality": {"neighbour": [{"prompt": "The mother tongue of Bo Kell is", "target": "Tarn"}]},
    "portability": {"one_hop": [{"prompt": "The land of {} is", "target": ["Tarnia", "the Tarn land"]}]},
}


def test_a_case_is_read_whole() -> None:
    case = parse_case(ROW, "here")
    assert case.request.rendered().text == "The mother tongue of Ada Voss is"
    assert case.rephrases == ("Ada Voss is a native speaker of",)
    assert case.locality["neighbour"] == (Probe("The mother tongue of Bo Kell is", ("Tarn",)),)
    assert case.portability["one_hop"][0] == Probe("The land of Ada Voss is", ("Tarnia", "the Tarn land"))


def test_a_request_survives_the_way_through_json() -> None:
    row = {**ROW, "template": {"chat": True, "system": "Be brief."}, "target_prefix": "none"}
    request = parse_case(row, "here").request
    assert request.template == ChatTemplate(True, "Be brief.")
    assert parse_case(json.loads(json.dumps(request_to_json(request))), "there").request == request


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "x"}, "did you mean 'target_new'"),
        ({"subject": None}, "'subject' must be a text"),
        ({"rephrases": "one"}, "'rephrases' must be a list"),
        ({"locality": {"neighbor": []}}, "did you mean 'neighbour'"),
        ({"locality": {"neighbour": [{"prompt": 3}]}}, r"locality.neighbour\[0\]"),
        ({"template": {"chats": True}}, "did you mean 'chat'"),
        ({"target_true": 5}, "'target_true' must be a text or null"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_the_mend(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_case({**ROW, **change}, "cases.jsonl, line 1")


def test_lines_are_numbered_and_ids_unique() -> None:
    with pytest.raises(UsageError, match="line 2 is not JSON"):
        list(read_cases([json.dumps(ROW), "{"], "x.jsonl"))
    with pytest.raises(UsageError, match=r"line 3: id 'cf-0' was used in line 1") as caught:
        list(read_cases([json.dumps(ROW), "", json.dumps(ROW)], "x.jsonl"))
    assert caught.value.hint == 'give line 3 another id, such as "cf-0-3", or leave it out'
    unnamed = json.dumps({key: value for key, value in ROW.items() if key != "id"})
    with pytest.raises(UsageError, match=r"line 2: id '2' was used in line 1") as caught:
        list(read_cases([json.dumps({**ROW, "id": 2}), unnamed], "x.jsonl"))
    assert "a line without an id is called by its number" in str(caught.value.hint)


def test_cases_without_an_id_are_numbered_and_no_id_stands_for_two() -> None:
    bare, other, named = (
        Case(EditRequest("{} is", name, "new", id=id)) for name, id in (("A", ""), ("B", ""), ("C", "1"))
    )
    assert [case.request.id for case in identified([bare, named, other])] == ["2", "1", "3"]
    with pytest.raises(UsageError, match="2 cases have the id '1'"):
        identified([named, bare, named])


def test_a_missing_id_is_the_line_number() -> None:
    row = {key: value for key, value in ROW.items() if key != "id"}
    assert [case.request.id for case in read_cases(["", json.dumps(row)], "x.jsonl")] == ["2"]
