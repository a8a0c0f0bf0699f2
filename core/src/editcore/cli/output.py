"""Data on stdout, talk on stderr."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from editcore.cli.naming import fill
from editcore.text.visible import cells, escaped, json_escaped, one_line

_PATIENCE = 1.0
"""Seconds of work before a progress bar is shown."""
_CALM = 10.0
"""Seconds between two lines of progress where no terminal shows a bar: a pipe, the log of a CI."""
_WORD = 16
"""Cells up to which a column of single words keeps its width: an id has 12."""
_LONGEST = 1000
"""Characters of a line of a warning or an error, which may quote a file that is meant to fill the screen."""


class Output:
    """Output of a command. `as_json` asks for data for machines; the command decides what to print, not how."""

    def __init__(self) -> None:
        self.as_json = self.verbose = self.quiet = self.debug = False
        self._warned: set[str] = set()
        self.command = ""
        """The command, such as `editcore edit`."""
        self.given: Mapping[str, str] = {}
        """Values for MODEL and the like in the commands that messages recommend."""

    def json(self, value: Any) -> None:
        """One JSON value on stdout, hidden characters as escapes. Raises ValueError on a non-finite number."""
        import json

        click.echo(json_escaped(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)))

    def print(self, text: str = "") -> None:
        """A line of data on stdout."""
        click.echo(escaped(text))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Rows under headings on stdout: drawn on a terminal, in aligned plain text elsewhere."""
        shown = [["" if cell is None else one_line(str(cell)) for cell in row] for row in rows]
        if sys.stdout.isatty():
            _draw(columns, shown)
        else:
            for line in _aligned(columns, shown):
                click.echo(line)

    def say(self, text: str) -> None:
        """A line on stderr, unless `-q`."""
        if not self.quiet:
            click.echo(escaped(fill(text, self.given)), err=True)

    def detail(self, text: str) -> None:
        """A line on stderr under `-v`."""
        if self.verbose:
            click.echo(escaped(text), err=True)

    def warn(self, text: str) -> None:
        """A warning on stderr, also under `-q`; the same words are shown once."""
        if text in self._warned:
            return
        self._warned.add(text)
        click.echo(f"{click.style('warning:', fg='yellow')} {_short(fill(text, self.given))}", err=True)

    def error(self, text: str, hint: str | None = None) -> None:
        """An error on stderr: a line that says what happened and, if there is a hint, a line with the next step."""
        click.echo(f"{click.style('error:', fg='red')} {_short(fill(text, self.given)).removesuffix('.')}", err=True)
        if hint:
            click.echo(f"{click.style('hint:', fg='cyan')} {_short(fill(hint, self.given))}", err=True)

    @contextmanager
    def progress(self, label: str, total: int | None = None) -> Iterator["Progress"]:
        """Show progress on stderr, moved by `.advance(n)`, without `-q`: on a terminal a bar, once the work lasts a
        second; elsewhere a plain line every ten seconds."""
        progress = Progress(label, total, shown=not self.quiet, terminal=sys.stderr.isatty())
        try:
            yield progress
        finally:
            progress.close()


class Progress:
    """Made by `Output.progress`."""

    def __init__(self, label: str, total: int | None, *, shown: bool, terminal: bool) -> None:
        self.done = 0
        self._label, self._total, self._shown, self._terminal = label, total, shown, terminal
        self._start = self._said = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def advance(self, n: int = 1) -> None:
        self.done += n
        if self._shown and not self._terminal:
            self._say_calmly()
        elif self._bar is None and self._shown and time.monotonic() - self._start >= _PATIENCE:
            self._open()
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done)

    def _say_calmly(self) -> None:
        now = time.monotonic()
        if now - self._said < _CALM:
            return
        self._said, elapsed = now, now - self._start
        line = f"{self._label}: {self.done}{f' of {self._total}' if self._total else ''}, {_span(elapsed)}"
        if self._total and 0 < self.done < self._total:
            line += f", up to {_span(elapsed / self.done * (self._total - self.done))} left"
        click.echo(escaped(line), err=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            redirect_stdout=False,  # or data printed meanwhile would go where the bar is
            transient=True,
        )
        self._task = self._bar.add_task(self._label, total=self._total)
        self._bar.start()


def _span(seconds: float) -> str:
    """12 s, 3:05 min, 1:02 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60}:{whole % 60:02} min" if whole < 3600 else f"{whole // 3600}:{whole % 3600 // 60:02} h"


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        here = [row[number] for row in rows]
        # An id that is broken in two cannot be copied.
        whole = all(" " not in cell and cells(cell) <= _WORD for cell in here)
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
