"""Answers are compared alike in every script, and no article, mark or full stop decides wrongly."""

import pytest

from editcore.text.answers import excess, is_answer, normal, says


@pytest.mark.parametrize(
    ("text", "compared"),
    [
        ("The  Beatles!", "beatles"),
        ("A cat, an owl. A dog", "cat owl dog"),
        ("Vitamin A", "vitamin a"),
        ("the", "the"),
        ("Zoe\u0308", "zo\u00eb"),
        ("\uff30aris", "paris"),
        ("العَرَبِيَّة،", "العربية"),
        ("עִבְרִית", "עברית"),
        ("हिन्दी।", "हिन्दी"),
        ("東京。", "東京"),
    ],
)
def test_what_does_not_count_is_left_out_and_nothing_else(text: str, compared: str) -> None:
    assert normal(text) == compared


@pytest.mark.parametrize(
    ("text", "answer", "whole", "inside"),
    [
        (" French.", "French", True, True),
        ("French\nand more", "French", True, True),
        (" French, and he", "French", False, True),
        ("It is French.", "French", False, True),
        ("**Paris** is it", "Paris", False, True),
        ("**Paris**", "Paris", True, True),
        ("St. Louis. It is", "St. Louis", True, True),
        ("St. Louis. It is", "Louis", False, True),
        ("3.5", "3", False, True),
        ("Frenchman.", "French", False, False),
        ("东京。它是首都。", "东京", True, True),
        ("東京都。", "東京", False, True),
        ("हिन्दी। यह", "हिन्दी", True, True),
        ("हिन्दी।", "हिन्द", False, False),
        ("باريس؟ نعم", "باريس", True, True),
        ("والعربية", "العربية", False, False),
        ("zoe\u0308. Or", "Zo\u00eb", True, True),
        ("", "Paris", False, False),
        ("...", "...", False, False),
    ],
)
def test_an_answer_is_a_sentence_or_is_in_the_text(text: str, answer: str, whole: bool, inside: bool) -> None:
    assert is_answer(text, ["other", answer]) is whole
    assert says(text, ["other", answer]) is inside


def test_an_answer_in_a_longer_phrase_does_not_count_there() -> None:
    assert not says("Paris Hilton lives in London", ["Paris"], ["Paris Hilton"])
    assert says("Paris Hilton lives in Paris", ["Paris"], ["Paris Hilton"])
    assert says("Paris", ["Paris"], ["Paris"])


def test_the_excess_is_counted_in_words_of_the_answer() -> None:
    assert excess("The capital is Rome.", "Rome") == 2
    assert excess("Rome!", "the Rome") == 0
    assert excess("", "Rome") == -1
    assert excess("東京都", "東京") == 0.5
