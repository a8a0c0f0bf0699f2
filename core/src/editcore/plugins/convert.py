"""Strict conversion of one value to the declared type of a hyper-parameter."""

import math
import types
from typing import Any, Literal, Union, get_args, get_origin

from editcore_hooks import PluginError, UsageError


def convert(annotation: Any, value: Any, name: str) -> Any:
    """`value` as `annotation`, or `UsageError` naming the field, the type expected and what was given.

    An int is taken for a float, a list for a tuple; a bool is no int, a text no number.
    """
    try:
        return _converted(annotation, value)
    except _MisfitError:
        raise UsageError(f"{name} must be {type_text(annotation)}, not {_shown(value)}") from None


def accepts_text(annotation: Any) -> bool:
    """Is some text of this type?"""
    if annotation is str:
        return True
    if get_origin(annotation) is Literal:
        return any(isinstance(choice, str) for choice in get_args(annotation))
    return is_union(annotation) and any(accepts_text(member) for member in get_args(annotation))


def is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def list_item(annotation: Any) -> Any:
    """T of `tuple[T, ...]`, also inside `| None`; None for any other type."""
    if is_union(annotation):
        return next((item for member in get_args(annotation) if (item := list_item(member)) is not None), None)
    arguments = get_args(annotation)
    if get_origin(annotation) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return arguments[0]
    return None


def type_text(annotation: Any) -> str:
    """The type in words: `float`, `list of int`, `'a' or 'b'`, `int or null`."""
    if annotation is type(None):
        return "null"
    if annotation in (bool, int, float, str):
        return {bool: "true or false", int: "int", float: "float", str: "text"}[annotation]
    if get_origin(annotation) is Literal:
        return " or ".join(repr(choice) for choice in get_args(annotation))
    if is_union(annotation):
        return " or ".join(type_text(member) for member in get_args(annotation))
    item = list_item(annotation)
    if item is None:
        raise _unsupported(annotation)
    return f"list of {type_text(item)}"


class _MisfitError(Exception):
    pass


def _converted(annotation: Any, value: Any) -> Any:
    if annotation in (bool, int, str):
        if type(value) is not annotation:
            raise _MisfitError
        return value
    if annotation is float:
        try:
            if type(value) in (int, float) and math.isfinite(value):
                return float(value)
        except OverflowError:  # an int beyond the floats
            pass
        raise _MisfitError
    if annotation is type(None):
        if value is not None:
            raise _MisfitError
        return None
    if get_origin(annotation) is Literal:
        for choice in get_args(annotation):
            if type(choice) is type(value) and choice == value:  # True == 1, and they are two choices
                return choice
        raise _MisfitError
    if is_union(annotation):
        return _first_that_fits(get_args(annotation), value)
    item = list_item(annotation)
    if item is None:
        raise _unsupported(annotation)
    if not isinstance(value, (list, tuple)):
        raise _MisfitError
    return tuple(_converted(item, element) for element in value)


def _first_that_fits(members: tuple[Any, ...], value: Any) -> Any:
    for member in members:
        try:
            return _converted(member, value)
        except _MisfitError:
            continue
    raise _MisfitError


def _unsupported(annotation: Any) -> PluginError:
    return PluginError(f"hyper-parameters of type {annotation!r} are not supported")


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text[:60]}…" if len(text) > 60 else text
