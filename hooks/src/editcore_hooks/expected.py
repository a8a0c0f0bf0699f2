"""Checks of values where an author makes them: which field, what is expected, what was given. No torch."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from editcore_hooks.errors import InvalidValueError

_FLOATS: Final = frozenset({"float16", "bfloat16", "float32", "float64"})
_WHOLE: Final = frozenset({"int8", "int16", "int32", "int64", "uint8"})


def of_type(value: object, field: str, kinds: type | tuple[type, ...], words: str) -> None:
    """Raise `InvalidValueError` unless the field of `value` is one of `kinds`; `words` says what is expected."""
    given = getattr(value, field)
    if not isinstance(given, kinds) or (isinstance(given, bool) and bool not in _some(kinds)):
        refuse(value, field, words, _called(given))


def one_of(value: object, field: str, choices: tuple[object, ...]) -> None:
    """Raise `InvalidValueError` unless the field is one of the choices."""
    given = getattr(value, field)
    if given not in choices:
        refuse(value, field, f"one of {', '.join(map(repr, choices))}", repr(given))


def index_or_none(value: object, field: str) -> None:
    """Raise `InvalidValueError` unless the field is a number from 0, or None."""
    given = getattr(value, field)
    if given is not None and (type(given) is not int or given < 0):
        refuse(value, field, "an int from 0, or None", repr(given) if type(given) is int else _called(given))


def each_of_type(value: object, field: str, kinds: type | tuple[type, ...], words: str) -> None:
    """Raise `InvalidValueError` unless the field is a tuple of `kinds`, which `words` names in the plural."""
    of_type(value, field, tuple, f"a tuple of {words}")
    for one in getattr(value, field):
        if not isinstance(one, kinds):
            refuse(value, field, f"a tuple of {words}", f"one with {_called(one)} in it")


def mapping_of(value: object, field: str, keys: type, kinds: tuple[type, ...], words: str) -> None:
    """Raise `InvalidValueError` unless the field is a mapping from `keys` to `kinds`; `words` says so."""
    of_type(value, field, Mapping, words)
    for key, one in getattr(value, field).items():
        if not isinstance(key, keys):
            refuse(value, field, words, f"one with the key {key!r}, {_called(key)}")
        if kinds and not isinstance(one, kinds):
            refuse(value, field, words, f"one with {_called(one)} at {key}")


def tensors_of(value: object, field: str) -> None:
    """Raise `InvalidValueError` unless the field is a mapping from names to tensors."""
    mapping_of(value, field, str, (), "a mapping from names to tensors")
    for name, one in getattr(value, field).items():
        if not is_tensor(one):
            refuse(value, field, "a mapping from names to tensors", f"one with {_called(one)} at {name!r}")


def float_tensor(value: object, field: str) -> tuple[int, ...]:
    """The shape of a field that must be a tensor of floating-point numbers."""
    return _tensor(value, field, _FLOATS, "a floating-point dtype")


def index_tensor(value: object, field: str) -> tuple[int, ...]:
    """The shape of a field that must be a tensor of integers."""
    return _tensor(value, field, _WHOLE, "an integer dtype")


def is_tensor(value: object) -> bool:
    """Whether a value looks like a tensor; torch is not imported to tell."""
    return isinstance(getattr(value, "shape", None), Iterable) and hasattr(value, "dtype")


def refuse(value: object, field: str, wanted: str, given: str, hint: str | None = None) -> None:
    """Raise the error: `Dense.delta must be …, not …`."""
    raise InvalidValueError(f"{type(value).__name__}.{field} must be {wanted}, not {given}", hint=hint)


def _tensor(value: object, field: str, dtypes: frozenset[str], words: str) -> tuple[int, ...]:
    given: Any = getattr(value, field)
    if not is_tensor(given):
        refuse(value, field, "a tensor", _called(given))
    dtype = str(given.dtype).rpartition(".")[2]
    if dtype not in dtypes:
        refuse(value, field, f"of {words}", dtype)
    return tuple(given.shape)


def _some(kinds: type | tuple[type, ...]) -> tuple[type, ...]:
    return kinds if isinstance(kinds, tuple) else (kinds,)


def _called(value: object) -> str:
    """Name a value's type in words: `None`, `a list`, `an int`."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
