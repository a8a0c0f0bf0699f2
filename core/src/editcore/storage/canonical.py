"""Canonical JSON (RFC 8785) for hashing, and a loader that refuses what two readers could understand differently."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Final, NoReturn

import rfc8785

from editcore_hooks import RefusedFileError, UsageError

MAX_DEPTH: Final = 64
MAX_BYTES: Final = 100_000_000
_SAFE_INTEGER: Final = 2**53 - 1


def canonical(value: Any) -> bytes:
    """The one spelling of a JSON value: sorted keys, no spaces, UTF-8.

    Raises `UsageError` for NaN, infinities, integers beyond 2^53, keys that are not text, half characters and values
    JSON has not.
    """
    _check_depth(value, "a value nested deeper than 64 levels cannot be written", UsageError)
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise UsageError(
            f"a value cannot be written as canonical JSON: {error}", hint="use finite numbers and text"
        ) from error


def sha256_of(value: Any) -> str:
    """The lower-case hex sha256 of the canonical form of `value`."""
    return hashlib.sha256(canonical(value)).hexdigest()


def load_json(data: bytes | str, what: str, *, max_bytes: int = MAX_BYTES) -> Any:
    """Parse JSON that came from outside; `what` names it in messages.

    Raises `RefusedFileError` when it is too long, not UTF-8, not JSON, nested too deep, has a key twice, or holds a
    number that a double does not hold or half a character.
    """
    if len(data) > max_bytes:
        raise RefusedFileError(f"{what} is {len(data)} bytes long, more than the {max_bytes} allowed")
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_exact,
        )
        if "\\u" in text:  # an escape can spell half a character, which no file name and no terminal takes
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise RefusedFileError(f"{what} is nested too deep") from error
    except UnicodeEncodeError as error:
        half = f"U+{ord(error.object[error.start]):04X}"
        raise RefusedFileError(f"{what} holds {half}, half of a character (a lone surrogate)") from error
    except ValueError as error:  # includes UnicodeDecodeError, JSONDecodeError and the hooks below
        raise RefusedFileError(f"{what} is not JSON that can be trusted: {error}") from error
    _check_depth(value, f"{what} is nested too deep", RefusedFileError)
    return value


def read_object(path: Path, what: str, hint: str) -> dict[str, Any]:
    """The JSON object that a file holds, read as by `load_json`.

    Raises `RefusedFileError` with `hint` when the file cannot be read or holds something else.
    """
    try:
        value = load_json(path.read_bytes(), what)
    except OSError as error:
        raise RefusedFileError(f"cannot read {what}: {error.strerror}", hint=hint) from error
    except RefusedFileError as error:
        raise RefusedFileError(error.message, hint=hint) from error
    if not isinstance(value, dict):
        raise RefusedFileError(f"{what} is not a JSON object", hint=hint)
    return value


def is_negative_zero(value: Any) -> bool:
    """Whether a number is -0.0, which RFC 8785 writes as 0: it changes bits, and no hash shows it."""
    return isinstance(value, float) and value == 0 and math.copysign(1, value) < 0


def has_negative_zero(value: Any) -> bool:
    """Whether a JSON value, which is nested no deeper than `MAX_DEPTH`, holds one anywhere."""
    if isinstance(value, dict | list | tuple):
        return any(map(has_negative_zero, value.values() if isinstance(value, dict) else value))
    return is_negative_zero(value)


def _check_depth(value: Any, message: str, error: type[UsageError | RefusedFileError]) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        containers = [item for item in level if isinstance(item, dict | list | tuple)]
        if not containers:
            return
        level = [child for item in containers for child in (item.values() if isinstance(item, dict) else item)]
    raise error(message)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} occurs twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text} is out of range")
    return number


def _exact(text: str) -> int | float:
    """An integer as int, or as the double that RFC 8785 spells in the same digits (1e20)."""
    number = int(text) if len(text) < 400 else 10**400
    if abs(number) <= _SAFE_INTEGER:
        return number
    if abs(number) < 10**21 and rfc8785.dumps(float(number)) == text.encode():
        return float(number)
    raise ValueError(f"the integer {text[:24]} is beyond what a double holds exactly")
