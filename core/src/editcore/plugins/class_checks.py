"""Checks of a class before it ever runs: its stages, its hyper-parameters, its capabilities."""

import inspect
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any, Final

import attrs

from editcore.plugins.checks import SPECIFIED
from editcore.plugins.convert import convert, type_text
from editcore.plugins.hparams import field_types, plain
from editcore.text.suggest import suggestion
from editcore_hooks import PROJECT, EditcoreError, EditMethod, Locator, Named, specs

_HOOKS: Final[dict[type[Named], tuple[str, ...]]] = {
    EditMethod: ("editcore_locate", "editcore_compute_update", "editcore_evaluate", "editcore_train"),
    Locator: ("editcore_locate",),
}
_CAPABILITIES: Final = ("batch", "sequential", "encoder-decoder")


def class_problems(cls: type[Named]) -> list[str]:
    """Faults of a class that a plugin registers, one sentence each.

    That a method or locator has every stage is checked where its class is defined.
    """
    base = next(one for one in cls.__mro__ if one.__module__.startswith("editcore_hooks."))
    return [*_hooks(cls, base), *_members(cls, base), *_capabilities(cls), *_hparams(cls)]


def _hooks(cls: type[Named], base: type[Named]) -> Iterator[str]:
    """Faults of hooks that the class implements directly."""
    allowed = _HOOKS.get(base, ())
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        if not inspect.isroutine(value) or value is vars(base).get(name):
            continue
        is_hook = hasattr(value, f"{PROJECT}_impl")
        if not (is_hook or name.startswith("editcore_")):
            continue
        stage = (getattr(value, f"{PROJECT}_impl", None) or {}).get("specname") or name
        if stage not in allowed:
            yield f"it has no stage {stage!r}{_meant(stage, allowed or SPECIFIED)}"
        elif is_hook:
            yield from _arguments(stage, value)
        else:
            yield f"{name!r} is a stage without @hookimpl: it would never be called"


def _members(cls: type[Named], base: type[Named]) -> Iterator[str]:
    """Plain methods that the host would call with other arguments, or under another name."""
    called = {name for name in dir(base) if not name.startswith(("_", "editcore_")) and callable(getattr(base, name))}
    called.discard("Hparams")
    for name in sorted(called):
        if inspect.getattr_static(cls, name) is inspect.getattr_static(base, name):
            continue
        parameters = inspect.signature(getattr(base, name)).parameters
        try:
            inspect.signature(getattr(cls, name)).bind(*parameters)
        except TypeError:
            yield f"{name!r} must take {', '.join(one for one in parameters if one != 'self')}"
    for one in cls.__mro__[: cls.__mro__.index(base)]:
        for name, value in vars(one).items():
            near = get_close_matches(name, called, 1, 0.85)
            if near and inspect.isroutine(value) and name not in dir(base):
                yield f"nothing calls {name!r}: did you mean {near[0]!r}?"


def _arguments(stage: str, function: Callable[..., Any]) -> Iterator[str]:
    known = list(inspect.signature(getattr(specs, stage)).parameters)
    # pluggy passes positional arguments without a default, by name
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.default is parameter.empty and parameter.name not in known:
            yield f"{stage!r} has no argument {parameter.name!r}{_meant(parameter.name, known)}"


def _capabilities(cls: type[Named]) -> Iterator[str]:
    for name in sorted(map(str, getattr(cls, "capabilities", ()))):
        if name not in _CAPABILITIES:
            yield f"there is no capability {name!r}{_meant(name, _CAPABILITIES)}"


def _hparams(cls: type[Named]) -> Iterator[str]:
    hparams = cls.Hparams
    if not attrs.has(hparams):
        yield f"its {hparams.__qualname__} is not an attrs class: write @attrs.frozen above it"
        return
    if getattr(hparams.__setattr__, "__name__", "") != "_frozen_setattrs":  # what attrs puts there, however asked
        yield f"its {hparams.__qualname__} is not frozen: write @attrs.frozen above it"
    try:
        types = field_types(hparams)
    except EditcoreError as error:
        yield error.message
        return
    for field in attrs.fields(hparams):
        if field.init:
            yield from _field(field, types[field.name])


def _field(field: "attrs.Attribute[Any]", annotation: Any) -> Iterator[str]:
    if "help" not in field.metadata:
        yield f"the hyper-parameter {field.name!r} has no help: declare it with hparam(default, help=…)"
    elif not str(field.metadata["help"]).strip():
        yield f"the help of the hyper-parameter {field.name!r} is empty"
    try:
        words = type_text(annotation)
    except EditcoreError:
        shown = getattr(annotation, "__name__", annotation) if isinstance(annotation, type) else annotation
        yield (
            f"the hyper-parameter {field.name!r} is of type {shown}, which is not supported: "
            "use bool, int, float, str, Literal, tuple[T, ...] or one of these | None"
        )
        return
    if field.default is attrs.NOTHING or isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
        return
    try:
        convert(annotation, plain(field.default), field.name)
    except EditcoreError:
        yield f"the default of the hyper-parameter {field.name!r} is {field.default!r}, which is not {words}"


def _meant(name: str, known: Any) -> str:
    near = suggestion(name, known)
    return f": {near}" if near else ""
