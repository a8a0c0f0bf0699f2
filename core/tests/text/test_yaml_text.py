"""YAML from anywhere is read in time that grows with its length, and no text of it is half a character."""

import time

import pytest

from editcore.text.yaml_text import parse
from editcore_hooks import UsageError


def test_many_keys_are_read_in_linear_time() -> None:
    lines = [f"key{i}: {i}" for i in range(4000)]

    def seconds(count: int) -> float:
        started = time.process_time()
        assert len(parse("\n".join(lines[:count]), "it")) == count
        return time.process_time() - started

    # 8 times where it is linear, 64 where it is quadratic; the least of three, since other work disturbs a time
    assert min(seconds(4000) for _ in range(3)) < 24 * min(seconds(500) for _ in range(3))


def test_a_key_twice_is_refused_with_its_line() -> None:
    with pytest.raises(UsageError, match=r"line 3: the key 'a' is there twice"):
        parse("a: 1\nb: 2\na: 3\n", "it")
    with pytest.raises(UsageError, match=r"it is not (usable )?YAML"):
        parse("? [a]\n: 1\n", "it")


def test_halves_of_a_character_are_joined_and_one_alone_is_refused() -> None:
    assert parse(r'a: "\ud83d\ude00"', "it") == {"a": "😀"}
    assert parse("a: 😀", "it") == {"a": "😀"}
    with pytest.raises(UsageError, match="half a character"):
        parse(r'a: "\ud83d"', "it")


def test_aliases_are_counted_as_what_they_stand_for() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 8)]
    with pytest.raises(UsageError, match="more than 1,000,000 values"):
        parse("\n".join(levels), "it")
    with pytest.raises(UsageError, match="contains itself"):
        parse("a: &a [*a]", "it")
    assert parse("a: &a [1]\nb: *a", "it") == {"a": [1], "b": [1]}


def test_deep_nesting_is_an_error() -> None:
    for text in ("[" * 100_000, "- " * 20_000 + "a", "a: {" * 100_000):
        with pytest.raises(UsageError, match=r"it is not (usable )?YAML"):
            parse(text, "it")
