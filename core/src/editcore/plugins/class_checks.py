"""Checks of a class before it ever runs: its stages, its hyper-parameters, its capabilities."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

from editcore.plugins.checks import SPECIFIED
from editcore.plugins.convert import convert, type_text
from editcore.plugins.hparams import field_types, plain
from editcore.text.suggest import suggestion
from editcore_hooks import PROJECT, EditcoreError, EditMethod, Locator, Named, specs

_OF_METHOD: Final = ("editcore_locate", "editcore_compute_update", "editcore_evaluate", "editcore_train")
_OF_LOCATOR: Final = ("editcore_locate",)
_NEEDED: Final = {EditMethod: "editcore_compute_update", Locator: "editcore_locate"}
_CAPABILITIES: Final = ("batch", "sequential")


def class_problems(cls: type[Named]) -> list[str]:
    """Faults of a class that a plugin registers, one sentence each."""
    return [*_stages(cls), *_capabilities(cls), *_hparams(cls)]


def _stages(cls: type[Named]) -> Iterator[str]:
    allowed = _OF_METHOD if issubclass(cls, EditMethod) else _OF_LOCATOR if issubclass(cls, Locator) else ()
    marked = set()
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        if not inspect.isroutine(value):
            continue
        is_hook = hasattr(value, f"{PROJECT}_impl")
        if not (is_hook or name.startswith("editcore_")):
            continue
        stage = (getattr(value, f"{PROJECT}_impl", None) or {}).get("specname") or name
        if stage not in allowed:
            yield f"it has no stage {stage!r}{_meant(stage, allowed or SPECIFIED)}"
            continue
        if is_hook:
            marked.add(stage)
            yield from _arguments(stage, value)
        else:
            yield f"{name!r} is a stage without @hookimpl: it would never be called"
            marked.add(stage)
    for kind, needed in _NEEDED.items():
        if issubclass(cls, kind) and needed not in marked:
            yield f"it does not implement {needed!r}"


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
