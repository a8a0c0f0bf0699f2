"""Progress of long work on stderr: bars on a terminal, calm lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from editcore.text.visible import escaped

_PATIENCE = 1.0
"""Seconds of work before a progress bar is shown."""
_CALM = 10.0
"""Seconds between two lines of progress where no terminal shows a bar: a pipe, the log of a CI."""


class Progress:
    """Made by `Output.progress`."""

    def __init__(self, label: str, total: int | None, bars: "Bars", *, shown: bool, terminal: bool) -> None:
        self.done = 0
        self._bars = bars
        self._label, self._total, self._shown, self._terminal = label, total, shown, terminal
        self._start = self._said = time.monotonic()
        self._bar: Any = None

    def advance(self, n: int = 1) -> None:
        self.done += n
        if self._shown and not self._terminal:
            self._say_calmly()
        elif self._bar is None and self._shown and time.monotonic() - self._start >= _PATIENCE:
            self._bar = self._bars.add(self._label, self._total)
        if self._bar is not None:
            self._bars.move(self._bar, self.done)

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
            self._bars.remove(self._bar)
            self._bar = None


class Bars:
    """The bars of work within work, in one display: two would draw over each other and leave what they drew."""

    def __init__(self) -> None:
        self._display: Any = None

    def line(self, text: str) -> None:
        """A line on stderr, above the bars if there are any."""
        if self._display is None:
            click.echo(text, err=True)
        else:
            from rich.text import Text

            self._display.console.print(Text.from_ansi(text), soft_wrap=True, highlight=False)

    @contextmanager
    def away(self) -> Iterator[None]:
        """No bars for the moment: data on the same terminal would come after one, and leave it there."""
        if self._display is None:
            yield
            return
        self._display.stop()
        try:
            yield
        finally:
            self._display.start()

    def add(self, label: str, total: int | None) -> Any:
        if self._display is None:
            self._display = _display()
            self._display.start()
        return self._display.add_task(label, total=total)

    def move(self, bar: Any, done: int) -> None:
        self._display.update(bar, completed=done)

    def remove(self, bar: Any) -> None:
        if len(self._display.task_ids) > 1:
            self._display.remove_task(bar)
        else:  # with its last bar in it: that is what the display clears away
            self._display.stop()
            self._display = None


def _display() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,  # or data printed meanwhile would go where the bar is
        transient=True,
    )


def _span(seconds: float) -> str:
    """12 s, 3:05 min, 1:02 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60}:{whole % 60:02} min" if whole < 3600 else f"{whole // 3600}:{whole % 3600 // 60:02} h"
