"""Canonical JSON: one spelling of each value, and no value that two readers would understand differently."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editcore.storage.canonical import canonical, load_json, read_object, sha256_of
from editcore_hooks import RefusedFileError, UsageError

numbers = st.one_of(st.integers(-(2**53) + 1, 2**53 - 1), st.floats(allow_nan=False, allow_infinity=False))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(st.characters(exclude_categories=["Cs"]))),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)),
    max_leaves=12,
)


def test_keys_are_sorted_and_spaces_left_out() -> None:
    assert canonical({"b": 1.0, "a": [True, None, "é"]}) == '{"a":[true,null,"é"],"b":1}'.encode()


def test_known_hash_of_the_empty_object() -> None:
    assert sha256_of({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@given(values)
def test_parsing_what_was_written_and_writing_it_again_gives_the_same_bytes(value: object) -> None:
    written = canonical(value)
    assert canonical(load_json(written, "the value")) == written


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**53, {1: 2}, "\ud800", {1, 2}])
def test_refuses_to_write(value: object) -> None:
    with pytest.raises(UsageError):
        canonical({"x": value})


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "",
        '{"a":1,"a":2}',
        '{"x":{"a":1,"a":2}}',
        "NaN",
        "Infinity",
        "1e999",
        "9007199254740993",
        "1" * 5000,
        "[1,]",
    ],
)
def test_refuses_to_read(text: str) -> None:
    with pytest.raises(RefusedFileError, match="the manifest"):
        load_json(text, "the manifest")


def test_refuses_deep_nesting_and_great_length() -> None:
    with pytest.raises(RefusedFileError, match="nested too deep"):
        load_json("[" * 65 + "]" * 65, "the manifest")
    with pytest.raises(RefusedFileError, match="nested too deep"):
        load_json("[" * 200_000, "the manifest")
    with pytest.raises(RefusedFileError, match="more than the 10 allowed"):
        load_json("[1,2,3,4,5,6]", "the manifest", max_bytes=10)
    assert load_json("[" * 64 + "]" * 64, "the manifest")


def test_half_a_character_is_not_written() -> None:
    with pytest.raises(UsageError, match="cannot be written as canonical JSON"):
        canonical({"title": "\ud83d"})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[1]", "config.json is not a JSON object"),
        ('{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        ("", "is not JSON"),
        (None, "cannot read config.json: No such file"),
    ],
)
def test_a_file_that_holds_no_object_is_refused_with_the_next_step(
    tmp_path: Path, text: str | None, fault: str
) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(RefusedFileError, match=fault) as caught:
        read_object(tmp_path / "config.json", "config.json", "fetch the model again")
    assert caught.value.hint == "fetch the model again"


def test_an_object_in_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    assert read_object(tmp_path / "config.json", "config.json", "") == {"model_type": "gpt2"}
