"""A file of cases that is wrong is an error of one line that names it, whatever it holds."""

import json
from typing import Any

import pytest

from editcore.cases.reading import parse_case, read_cases
from editcore.cli.requests import read_file
from editcore_hooks import UsageError

ROW: dict[str, Any] = {"prompt": "{} is led by", "subject": "Lorn", "target_new": "Ada"}
LINE = json.dumps(ROW)


def with_field(text: str) -> str:
    return f"{LINE[:-1]}, {text}}}"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (with_field('"locality": {"neighbour": 3}'), "'neighbour' must be a list"),
        (with_field('"portability": {"alias": null}'), "'alias' must be a list"),
        (with_field('"locality": {"neighbour": {"prompt": "a"}}'), "'neighbour' must be a list"),
        (with_field('"id": NaN'), "NaN is not a JSON number"),
        (with_field('"id": ' + "1" * 5000), "beyond what a double holds"),
        (with_field('"id": 1.5'), "'id' must be a text or an integer"),
        (with_field('"id": true'), "'id' must be a text or an integer"),
        (with_field('"id": ["a"]'), "'id' must be a text or an integer"),
        (with_field('"subject": "Oss"'), "the key 'subject' occurs twice"),
        (with_field('"target_true": "\\ud83d"'), "holds U+D83D, half of a character"),
        (with_field('"template": {"chat": "no"}'), "true or false"),
        ("[" * 100_000, "nested too deep"),
        (with_field('"accepted": ' + "[" * 100_000), "nested too deep"),
        (with_field('"accepted": ' + "[" * 100 + "]" * 100), "nested too deep"),
        ("3", "is not a JSON object"),
    ],
)
def test_a_line_that_is_wrong_is_named(line: str, says: str) -> None:
    with pytest.raises(UsageError, match=r"c\.jsonl, line 2") as caught:
        list(read_cases([LINE, line], "c.jsonl"))
    assert says in str(caught.value)


def test_an_id_from_python_is_checked_as_well() -> None:
    with pytest.raises(UsageError, match="'id' must be a text or an integer"):
        parse_case({**ROW, "id": float("nan")}, "here")
    assert parse_case({**ROW, "id": 7}, "here").request.id == "7"
    assert parse_case({**ROW, "id": None}, "here", "4").request.id == "4"


def test_a_byte_order_mark_is_passed_over_at_the_beginning_only(tmp_path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + LINE.encode())
    assert [case.request.subject for case in read_file(str(path))] == ["Lorn"]
    with pytest.raises(UsageError, match="line 2"):
        list(read_cases([LINE, "\ufeff" + LINE], "c.jsonl"))


def test_a_table_in_the_place_of_requests_says_how_to_convert_it(tmp_path) -> None:
    path = tmp_path / "my facts.csv"
    path.write_text("prompt,subject,target\n")
    with pytest.raises(UsageError, match="is a table") as caught:
        read_file(str(path))
    assert caught.value.hint == f"editcore datasets convert LAYOUT '{path}' --to 'my facts.jsonl'"


def test_bytes_that_are_no_utf_8_are_an_error(tmp_path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(LINE.encode() + b'\n{"prompt": "\xff"}\n')
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_file(str(path))
