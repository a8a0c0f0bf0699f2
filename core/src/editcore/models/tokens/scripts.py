"""Scripts that are written without blanks between words, and so without one between a prompt and its answer."""

from typing import Final

import regex

# script extensions take in the marks that several of these scripts share: 。 「 ー; then the wide forms of ASCII
_UNSPACED: Final = (
    r"[\p{scx=Hani}\p{scx=Hira}\p{scx=Kana}\p{scx=Thai}\p{scx=Laoo}\p{scx=Khmr}\p{scx=Mymr}\uff01-\uff65]"
)
_BEGINS: Final = regex.compile(rf"[\p{{P}}\p{{S}}]*?{_UNSPACED}", regex.V1)
_ENDS: Final = regex.compile(rf"{_UNSPACED}\p{{M}}*$", regex.V1)


def joins_without_blank(text: str, more: str) -> bool:
    """Whether `more` follows `text` without a blank: one of them is Han, Hiragana, Katakana, Thai, Lao, Khmer or
    Myanmar where they meet. Quotation marks before the first letter of `more` do not count."""
    return _BEGINS.match(more) is not None or _ENDS.search(text) is not None
