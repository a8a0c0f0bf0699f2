"""`EDITCORE_TRACE=1`: every call of a hook on stderr, with who implements it and how long it took."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pluggy

VARIABLE: Final = "EDITCORE_TRACE"


def traced(manager: pluggy.PluginManager) -> pluggy.PluginManager:
    """The manager, which prints its calls from now on if the variable is set and not 0."""
    if os.environ.get(VARIABLE, "0") not in ("", "0"):
        started: list[float] = []

        def before(name: str, implementations: Sequence[Any], arguments: Mapping[str, Any]) -> None:
            started.append(time.perf_counter())

        def after(outcome: Any, name: str, implementations: Sequence[Any], arguments: Mapping[str, Any]) -> None:
            milliseconds = (time.perf_counter() - started.pop()) * 1000
            indent = "  " * len(started)
            owners = [one.plugin_name for one in implementations if not one.plugin_name.isdigit()]
            ended = "" if outcome.exception is None else f" raised {type(outcome.exception).__name__}"
            print(f"trace: {indent}{name} {milliseconds:.1f} ms{ended}: {', '.join(owners)}", file=sys.stderr)

        manager.add_hookcall_monitoring(before, after)
    return manager
