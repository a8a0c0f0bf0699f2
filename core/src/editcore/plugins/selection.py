"""`EDITCORE_PLUGINS`: which installed plugins may be loaded."""

import re
from collections.abc import Callable, Collection
from typing import Final

from editcore_hooks import UsageError

VARIABLE: Final = "EDITCORE_PLUGINS"
BUILTIN: Final = "editcore"

Chooser = Callable[[str, str], bool]
"""(plugin name, distribution name) → may it be loaded?"""


def normalised(name: str) -> str:
    """Distribution names differ in case and in `-`, `_`, `.`, and mean the same."""
    return re.sub(r"[-_.]+", "-", name).lower()


def chooser(setting: str | None, installed: Collection[tuple[str, str]]) -> Chooser:
    """Read the setting: unset, all; empty, none but the built-in; `a,b`, only these; `-a,-b`, all but these.

    `installed` holds (plugin name, distribution name). Raises `UsageError` on a name that nothing installed has, on a
    mixture of both forms, and when the built-in is to be left out.
    """
    if setting is None:
        return lambda name, distribution: True
    entries = [entry.strip() for entry in setting.split(",") if entry.strip()]
    without = {entry[1:].strip() for entry in entries if entry.startswith("-")}
    only = {entry for entry in entries if not entry.startswith("-")}
    if without and only:
        raise UsageError(f"{VARIABLE}={setting!r} mixes names to load and names to leave out", hint="use one form")
    if BUILTIN in without:
        raise UsageError(f"the built-in plugin cannot be left out of {VARIABLE}", hint="take -editcore out of it")
    known = {normalised(name) for pair in installed for name in pair} | {BUILTIN}
    for name in sorted(without | only):
        if normalised(name) not in known:
            there = ", ".join(sorted({name for name, _ in installed} | {BUILTIN}))
            raise UsageError(
                f"{VARIABLE} names {name!r}, and no such plugin is installed", hint=f"choose one of {there}"
            )
    named = {normalised(name) for name in without | only}

    def allowed(name: str, distribution: str) -> bool:
        return (normalised(name) in named or normalised(distribution) in named) != bool(without)

    return allowed
