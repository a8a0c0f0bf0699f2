"""Refusals of patches with invalid content."""

import re
from typing import Any, Final, NoReturn

from editcore_hooks import RefusedFileError

_HEX: Final = re.compile(r"[0-9a-f]{64}")
_KEY: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.:-]{0,511}")
_AGAIN: Final = "get the patch again from where it came"


class Fault(ValueError):
    """A fault of a part of the core, as the end of a sentence that its reader begins."""


def refuse(where: str, fault: str) -> NoReturn:
    """Raise `RefusedFileError` for a patch that says something it must not."""
    raise RefusedFileError(f"{where} is refused: {fault}", hint=_AGAIN)


def name_fault(key: str) -> str | None:
    """Why a tensor key or part name is refused, or None. Names that could be read as paths stop here."""
    if not _KEY.fullmatch(key) or key in ("payload", "state"):
        return f"the name {key[:80]!r} is not a plain tensor name"
    return None


def is_hash(value: Any) -> bool:
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def is_number(value: Any) -> bool:
    """Whether it is a JSON number; `true` and `false` are none."""
    return type(value) in (int, float)
