"""What to install for a name that is asked for and not there. Read only to word a message, never to find a class."""

from collections.abc import Mapping
from typing import Final

METHODS: Final[Mapping[str, str]] = {
    "ft": "editcore-ft",
    "ft-l": "editcore-ft",
    "ft-m": "editcore-ft",
    "memit": "editcore-memit",
    "rome": "editcore-rome",
}

COMMANDS: Final[Mapping[str, str]] = {
    "ability": "editcore-lm-eval",
    "bench": "editcore-bench",
    "datasets": "editcore-bench",
    "demo": "editcore-demo",
    "stats": "editcore-keyvalue",
}
