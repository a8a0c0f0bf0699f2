"""Code of a plugin that runs while plugins are found: it prints where it does no harm, and its exits are faults.

No program can contain `os._exit`, a crash or an endless loop in the same process: see docs/security.md.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any


class EscapeError(Exception):
    """A plugin raised something that is meant to end the program or a generator, and is no error."""


@contextmanager
def contained() -> Iterator[None]:
    """Send what the body prints to stderr, since stdout is for data, and turn an exit that it raises into an error.

    `SystemExit` passes for the caller to tell. So does Ctrl-C: a KeyboardInterrupt is only the plugin's where no key
    was pressed. Raises `EscapeError`.
    """
    pressed: list[int] = []
    handler = signal.getsignal(signal.SIGINT)
    watched = threading.current_thread() is threading.main_thread() and handler is signal.default_int_handler
    ignored = handler is signal.SIG_IGN  # as in a job that a shell started with &: no key reaches it

    def note(number: int, frame: Any) -> None:
        pressed.append(number)
        signal.default_int_handler(number, frame)

    if watched:
        signal.signal(signal.SIGINT, note)
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit):
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and (pressed or not (watched or ignored)):
            raise
        raise EscapeError(f"it raised {type(error).__name__}") from error
    finally:
        if watched and signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, signal.default_int_handler)
