"""No text of a file acts on a terminal, and none that is written hides what stands beside it."""

import json
import sys

import pytest

from editcore.cli.output import Output
from editcore.text.visible import escaped, is_hidden, json_escaped, one_line, plain_line

HIDDEN = ["\x1b", "\x9b", "\u200b", "\u202e", "\u2066", "\u2028", "\u2029", "\ufeff", "\xad", "\U000e0041", "\ud800"]


@pytest.mark.parametrize("character", HIDDEN)
def test_a_hidden_character_is_shown_as_its_escape(character: str) -> None:
    for show in (one_line, escaped):
        line = show(f"a{character}b")
        assert line.isprintable()
        assert "\\" in line or character in "\u2028\u2029"  # those two end a line, and become a blank


@pytest.mark.parametrize("character", HIDDEN)
def test_json_holds_it_as_an_escape_and_loses_nothing(character: str, capsys) -> None:
    Output().json({"title": f"a{character}\nb", character: 1})
    printed = capsys.readouterr().out
    assert all(c == "\n" or c.isprintable() for c in printed)
    assert json.loads(printed) == {"title": f"a{character}\nb", character: 1}


def test_a_plain_line_keeps_words_of_every_script() -> None:
    for text in ("Ada Lovelace", "می\u200cخواهم", "क्\u200dष", "👩\u200d🔬", "日本 語", "Zoë"):
        assert plain_line(text) == text
    assert plain_line(" a\nid  b\u202ec\x1b[2J\u200b ") == "a id bc[2J"


def test_texts_keep_their_lines() -> None:
    assert escaped("a\n\tb\u00a0c") == "a\n\tb\u00a0c"
    assert one_line("a\n\tb") == "a b"


def test_what_is_hidden_is_what_python_does_not_print_apart_from_blanks_and_unknown_letters() -> None:
    for code in range(0x3000):
        character = chr(code)
        assert not is_hidden(character) or not character.isprintable()
    assert json_escaped('"é"') == '"é"'
    assert sys.maxunicode == 0x10FFFF
    assert json_escaped("\U000e0041") == "\\udb40\\udc41"
