"""Put the arguments of a command into the commands that its messages recommend, so that they can be pasted."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from editcore.text.shell import quoted

_OPTIONS: Final[Mapping[str, Sequence[str]]] = {
    "MODEL": ("model",),
    "DIR": ("model", "folder"),
    "PATCH": ("patch", "patches"),
}
"""Placeholder of a hint → the parameters that say what it stands for."""
_COMMAND: Final = re.compile(r"editcore [a-z][^`;]*")
_PLACEHOLDER: Final = re.compile(rf"(?<!\S)({'|'.join(_OPTIONS)})(?![\w/.])")


def given_names(options: Mapping[str, Any]) -> dict[str, str]:
    """The value of each placeholder with a single value, quoted for a shell."""
    found = {}
    for placeholder, names in _OPTIONS.items():
        for name in names:
            value = options.get(name)
            values = [value] if isinstance(value, str) else list(value) if isinstance(value, tuple) else []
            if len(values) == 1 and values[0] and placeholder not in found:
                found[placeholder] = quoted(values[0])
    return found


def fill(text: str, given: Mapping[str, str]) -> str:
    """The text with real names in the place of MODEL, DIR and PATCH, inside commands only."""

    def in_command(command: re.Match[str]) -> str:
        return _PLACEHOLDER.sub(lambda found: given.get(found[1], found[1]), command[0])

    return _COMMAND.sub(in_command, text) if given else text
