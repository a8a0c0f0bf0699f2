"""Messages of a session at work. The command line prints them on stderr; a library prints nothing by default."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable


class Progress(Protocol):
    def advance(self, n: int = 1) -> None: ...


class Talk(Protocol):
    def say(self, text: str) -> None: ...

    def progress(self, label: str, total: int) -> AbstractContextManager[Progress]: ...


@runtime_checkable
class Warns(Protocol):
    """A talk that shows warnings apart from other messages."""

    def warn(self, text: str) -> None: ...


class _Silent:
    def advance(self, n: int = 1) -> None:
        pass


class Silence:
    """Says nothing and shows nothing."""

    def say(self, text: str) -> None:
        pass

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Progress]:
        yield _Silent()
