"""Documents as rows of tokens: long ones are cut into windows, and the rows of a chunk are alike in length."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from editcore.authoring.models import bare, tokenise

if TYPE_CHECKING:
    from editcore_hooks import Session

WINDOW: Final = 512
"""The longest row, in tokens. What follows in a document begins the next row."""
ROWS_SORTED: Final = 256
"""Rows that are sorted by length together, so that little of a chunk is padding."""
TOKENS_PER_CHUNK: Final = 2_048
"""Tokens of a chunk, padding included. Time is checked between chunks."""

ALIKE: Final = 0.75
"""Length of the shortest row of a chunk over that of the longest, at least."""

Chunk = list[list[int]]


def documents_of(text: str) -> Iterator[str]:
    """The documents of a text: parted by blank lines or, where there are none, one a line."""
    parts = [part for part in re.split(r"\n[^\S\n]*\n", text) if part.strip()]
    if len(parts) > 1:
        yield from parts
    else:
        yield from (line for line in text.splitlines() if line.strip())


def windows(session: "Session", documents: Iterable[str]) -> Iterator[list[int]]:
    """Rows of at most `WINDOW` tokens, each with what the tokenizer puts before a text. Nothing is left out."""
    longest = min(WINDOW, session.max_length)
    for document in documents:
        if not bare(session.tokenizer, document):
            continue  # nothing in it that the tokenizer knows
        tokens = tokenise(session.tokenizer, document)
        lead, body = list(tokens.ids[: tokens.lead]), tokens.ids[tokens.lead :]
        room = max(1, longest - len(lead))
        for start in range(0, len(body), room):
            yield [*lead, *body[start : start + room]]


def chunked(rows: Iterator[list[int]]) -> Iterator[Chunk]:
    """The rows in chunks of rows alike in length, the longest of every `ROWS_SORTED` first."""
    while block := [row for _, row in zip(range(ROWS_SORTED), rows, strict=False)]:
        block.sort(key=len, reverse=True)
        while block:
            longest = len(block[0])
            most = max(1, TOKENS_PER_CHUNK // longest)
            chunk = [row for row in block[:most] if len(row) >= ALIKE * longest]
            yield chunk
            block = block[len(chunk) :]
