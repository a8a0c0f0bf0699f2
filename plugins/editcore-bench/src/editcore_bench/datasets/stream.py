"""Records of a JSON file, one at a time: a list of any length is never in memory as a whole."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from editcore_hooks import RefusedFileError, UsageError

CHUNK: Final = 1 << 18
LONGEST: Final = 1 << 25
"""Characters of one record at most; a comma that is missing early on would else pull in the whole file."""

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_DECODER: Final = json.JSONDecoder()


def records(path: Path) -> Iterator[tuple[int, Any]]:
    """The values of a JSON list, or of a file with one value a line, numbered from 1.

    Raises `UsageError` when there is no file and `RefusedFileError`, naming the record, when it is not such JSON.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint="name a file of this machine, or OWNER/NAME of a dataset")
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from _values(_Window(file, path.name))
    except UnicodeDecodeError as error:
        raise RefusedFileError(f"{path.name} is not UTF-8 text: {error.reason}", hint="unpack it first") from error


def _values(window: "_Window") -> Iterator[tuple[int, Any]]:
    opening = window.peek()
    if opening == "":
        raise RefusedFileError(f"{window.name} is empty")
    if opening not in "[{":
        raise _no_json(window)
    listed = opening == "["
    if listed:
        window.at += 1
    number, more = 1, window.peek() not in "]"
    while more:
        yield number, window.value(number)
        after = window.peek()
        if listed and after == ",":
            window.at += 1
            window.peek()
        elif listed and after != "]":
            cut = "ends before its list does" if after == "" else f"has {after!r} where a comma or ] belongs"
            raise RefusedFileError(f"{window.name} {cut}, after record {number}", hint="fetch the file again")
        number, more = number + 1, after not in "]"
    if listed:
        window.at += 1
        if window.peek() != "":
            raise RefusedFileError(f"{window.name} continues after its list, with {window.peek()!r}")


def _no_json(window: "_Window") -> RefusedFileError:
    start = window.text[window.at : window.at + 40]
    if start.startswith("version https://git-lfs"):
        return RefusedFileError(
            f"{window.name} is a pointer to a file kept elsewhere", hint="fetch it with `git lfs pull`"
        )
    return RefusedFileError(f"{window.name} is not JSON: it starts with {start!r}", hint="give a .json or .jsonl file")


class _Window:
    """The stretch of a file that is being read: what lies before `at` is dropped, what follows grows as needed."""

    def __init__(self, file: TextIO, name: str) -> None:
        self.name, self.text, self.at = name, "", 0
        self._file = file

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            space = _SPACE.match(self.text, self.at)
            assert space is not None
            self.at = space.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._grow(CHUNK):
                return ""

    def value(self, number: int) -> Any:
        """The value that begins here. Each failure doubles what is ahead, so that little is parsed in vain."""
        while True:
            try:
                value, self.at = _DECODER.raw_decode(self.text, self.at)
                return value
            except json.JSONDecodeError as error:
                ahead = len(self.text) - self.at
                if ahead > LONGEST or not self._grow(max(ahead, CHUNK)):
                    raise RefusedFileError(f"{self.name}, record {number} is not JSON: {error.msg}") from None
            except RecursionError:
                raise RefusedFileError(f"{self.name}, record {number} is nested too deep") from None

    def _grow(self, size: int) -> bool:
        more = self._file.read(size)
        self.text, self.at = self.text[self.at :] + more, 0
        return bool(more)
