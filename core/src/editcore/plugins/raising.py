"""Note the plugin and the stage on an exception that was not meant for people."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any

from editcore_hooks import EditcoreError, InvalidValueError

_PREFIX = "raised in "

Actor = tuple[Any, str]
"""An instance of a method, locator or transform, and what it is called in a message."""


@contextmanager
def noted(stage: str, actors: Sequence[Actor]) -> Iterator[None]:
    """Note on an exception of the body, unless it is an `EditcoreError`, the stage and which of `actors` was in it.

    A wrong value is the author's to fix: its message begins with the author's name and the stage.
    """
    try:
        yield
    except InvalidValueError as error:
        if not actors or isinstance(error.__cause__, InvalidValueError):
            raise
        message = f"{_acting(error, actors)}, in {stage}: {error.message}"
        raise InvalidValueError(message, hint=error.hint) from error
    except EditcoreError:
        raise
    except Exception as error:
        if actors and not origin_of(error):
            error.add_note(f"{_PREFIX}{stage} of {_acting(error, actors)}")
        raise


def origin_of(error: BaseException) -> str:
    """The note of `noted`; empty when there is none."""
    return next((note for note in getattr(error, "__notes__", []) if note.startswith(_PREFIX)), "")


def _acting(error: Exception, actors: Sequence[Actor]) -> str:
    running = [frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__)]
    return next((name for actor, name in actors if any(one is actor for one in running)), actors[0][1])
