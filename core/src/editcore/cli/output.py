"""Data on stdout, talk on stderr."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from editcore.cli.bars import Bars, Progress
from editcore.cli.naming import fill
from editcore.text.visible import cells, escaped, json_escaped, one_line

_WORD = 16
"""Cells up to which a column keeps its width: an id has 12."""
_LONGEST = 1000
"""Characters of a line of a warning or an error, which may quote a file that is meant to fill the screen."""


class Output:
    """Output of a command. `as_json` asks for data for machines; the command decides what to print, not how."""

    def __init__(self) -> None:
        self.as_json = self.verbose = self.quiet = self.debug = False
        self._warned: set[str] = set()
        self._bars = Bars()
        self.command = ""
        """The command, such as `editcore edit`."""
        self.given: Mapping[str, str] = {}
        """Values for MODEL and the like in the commands that messages recommend."""

    def json(self, value: Any) -> None:
        """One JSON value on stdout, hidden characters as escapes. Raises ValueError on a non-finite number."""
        import json

        text = json_escaped(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))
        with self._bars.away():
            click.echo(text)

    def print(self, text: str = "") -> None:
        """A line of data on stdout."""
        with self._bars.away():
            click.echo(escaped(text))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Rows under headings on stdout: drawn on a terminal, in aligned plain text elsewhere."""
        shown = [["" if cell is None else one_line(str(cell)) for cell in row] for row in rows]
        with self._bars.away():
            if sys.stdout.isatty():
                _draw(columns, shown)
            else:
                for line in _aligned(columns, shown):
                    click.echo(line)

    def say(self, text: str) -> None:
        """A line on stderr, unless `-q`."""
        if not self.quiet:
            self._bars.line(escaped(fill(text, self.given)))

    def detail(self, text: str) -> None:
        """A line on stderr under `-v`."""
        if self.verbose:
            self._bars.line(escaped(text))

    def warn(self, text: str) -> None:
        """A warning on stderr, also under `-q`; the same words are shown once."""
        if text in self._warned:
            return
        self._warned.add(text)
        self._bars.line(f"{click.style('warning:', fg='yellow')} {_short(fill(text, self.given))}")

    def error(self, text: str, hint: str | None = None) -> None:
        """An error on stderr: a line that says what happened and, if there is a hint, a line with the next step."""
        self._bars.line(f"{click.style('error:', fg='red')} {_short(fill(text, self.given)).removesuffix('.')}")
        if hint:
            self._bars.line(f"{click.style('hint:', fg='cyan')} {_short(fill(hint, self.given))}")

    @contextmanager
    def progress(self, label: str, total: int | None = None) -> Iterator[Progress]:
        """Show progress on stderr, moved by `.advance(n)`, without `-q`: on a terminal a bar, once the work lasts a
        second; elsewhere a plain line every ten seconds."""
        progress = Progress(label, total, self._bars, shown=not self.quiet, terminal=sys.stderr.isatty())
        try:
            yield progress
        finally:
            progress.close()


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        here = [row[number] for row in rows]
        # An id that is broken in two cannot be copied.
        whole = all(cells(cell) <= _WORD for cell in here)
        table.add_column(column, overflow="fold", no_wrap=whole)
    for row in rows:
        # Text, since a cell such as `[a, b]` would be read as markup.
        table.add_row(*map(Text, row))
    Console().print(table)


def _aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    lines = [list(columns), *map(list, rows)]
    widths = [max(cells(line[column]) for line in lines) for column in range(len(columns))]
    for line in lines:
        padded = (cell + " " * (width - cells(cell)) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _short(text: str) -> str:
    """One line, without its middle when that is long: both ends matter most."""
    line = one_line(text)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
