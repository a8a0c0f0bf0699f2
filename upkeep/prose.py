"""The prose of a file: what a person reads in it, with the line on which each piece begins."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_FIELD = re.compile(r"\{[^{}\n]*\}")
_PREFIX = re.compile(r"^[a-zA-Z]*(\"\"\"|'''|\"|')")
_TEXT = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
# Two comments or two neighbouring strings are one text, so that a phrase is found over the end of a line.
_LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
_STATEMENT = {tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}  # after one of these a string is a docstring


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Pairs of a line number and a text that begins there."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        yield from _python(text, docstrings_only="tests" in path.parts)
    elif path.suffix == ".md":
        yield 1, _CODE.sub(_blank, _FENCE.sub(_blank, text))
    else:
        yield 1, text


def _python(text: str, docstrings_only: bool) -> Iterator[tuple[int, str]]:
    """Comments and strings. In tests a string is data or the text of a message, which its own module is held to."""
    held: list[str] = []
    start = end = kind = 0
    before = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        wanted = token.type in _TEXT
        if docstrings_only and token.type != tokenize.COMMENT:
            wanted = token.type == tokenize.STRING and before in _STATEMENT
        if held and (token.type != kind if wanted else token.type not in _LAYOUT):
            yield start, "\n".join(held)
            held = []
        if wanted:
            if held:
                held.extend([""] * (token.start[0] - end - 1))  # so that lines are counted as they are in the file
            else:
                start = token.start[0]
            kind, end = token.type, token.end[0]
            held.append(_bare(token))
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            before = token.type
    if held:
        yield start, "\n".join(held)


def _bare(token: tokenize.TokenInfo) -> str:
    """Without quotes, and without the code of an f-string or a single word, which is a key and not prose."""
    if token.type == tokenize.COMMENT:
        return token.string[1:]
    text = _PREFIX.sub("", token.string) if token.type == tokenize.STRING else token.string
    text = _FIELD.sub(_blank, _CODE.sub(_blank, text)).rstrip("\"'")
    return text if re.search(r"\s", text.strip()) else _blank(re.match(r"(?s).*", text))


def _blank(found: re.Match[str] | None) -> str:
    """As many lines, and nothing in them."""
    return "\n" * found[0].count("\n") if found else ""
