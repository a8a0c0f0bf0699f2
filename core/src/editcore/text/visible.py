"""Texts from outside, as people may see them: nothing that moves, hides or reorders what stands beside it.

Written, a title or a name is one plain line (`plain_line`). Shown, whatever a file holds is escaped: in lines
(`one_line`), in texts that have lines of their own (`escaped`) and in JSON (`json_escaped`, which loses nothing).
"""

import re
import unicodedata
from typing import Final

_JOINERS: Final = "\u200c\u200d"
"""They are part of words in Persian and Hindi, and of emoji."""
_HIDDEN: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Controls, formats such as U+202E and U+200B, half characters, separators of lines and of paragraphs."""
_ODD: Final = re.compile(r"[^\x20-\x7e]")


def is_hidden(character: str) -> bool:
    """Whether a terminal or a reader acts on the character instead of showing it."""
    return unicodedata.category(character) in _HIDDEN


def cells(text: str) -> int:
    """Columns of a terminal: two for a wide character, none for a mark on another. Light, unlike that of rich."""
    if text.isascii():
        return len(text)
    standing = (c for c in text if unicodedata.category(c) not in ("Mn", "Me", "Cf"))
    return sum(2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in standing)


def plain_line(text: str) -> str:
    """`text` as one line without hidden characters; joiners stay."""
    line = " ".join(text.split())
    return "".join(c for c in line if c in _JOINERS or not is_hidden(c))


def escaped(text: str) -> str:
    """`text` with its lines and tabs, and every other hidden character but joiners as an escape."""
    return _ODD.sub(lambda found: _shown(found[0], "\n\t" + _JOINERS), text)


def one_line(text: str) -> str:
    """`text` as one line, every hidden character as an escape."""
    return _ODD.sub(lambda found: _shown(found[0], ""), " ".join(text.split()))


def json_escaped(text: str) -> str:
    """A JSON text that was written with `ensure_ascii=False`, its hidden characters as JSON escapes."""
    return _ODD.sub(lambda found: _json(found[0]), text)


def _shown(character: str, kept: str) -> str:
    if character in kept or not is_hidden(character):
        return character
    return character.encode("unicode_escape").decode()


def _json(character: str) -> str:
    if character == "\n" or not is_hidden(character):  # json.dumps breaks lines between values, and escapes its own
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
