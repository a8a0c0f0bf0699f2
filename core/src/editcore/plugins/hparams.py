"""Hyper-parameters: from mappings, files and `--set`, with the source of every value, and back to JSON."""

import typing
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import attrs
from attrs import frozen

from editcore.plugins.convert import accepts_text, convert, list_item, type_text
from editcore.text.suggest import suggestion_or_list
from editcore.text.yaml_text import parse, read_text
from editcore_hooks import EditcoreError, PluginError, UsageError

T = TypeVar("T")

DEFAULT: Final = "default"


@frozen
class Resolved:
    """The hyper-parameters of a run: `resolved` holds for every field the value and where it came from."""

    hparams: Any
    resolved: Mapping[str, tuple[Any, str]]


@frozen
class HparamField:
    """One field, in words."""

    field: str
    type: str
    default: str
    symbol: str
    help: str
    source: str


def from_mapping(cls: type[T], values: Mapping[str, Any]) -> T:
    """An instance from JSON or YAML values. Raises `UsageError` on an unknown name, a wrong type or value."""
    return _build(cls, _converted(cls, values))


def from_settings(cls: type[T], settings: Sequence[str]) -> T:
    """An instance from `name=value` texts, the rest by default. Raises `UsageError`."""
    return from_mapping(cls, settings_mapping(cls, settings))


def settings_mapping(cls: type, settings: Sequence[str]) -> dict[str, Any]:
    """The values of `name=value` texts, by YAML rules and the type of the field; `@file` reads one from a file.

    A field of type text takes the value unchanged, so `prompt={}` and `dtype=5` need no quotes. For a list of
    texts a file holds one a line; numbers may be listed as `3,4,5`. Raises `UsageError`.
    """
    hints = field_types(cls)
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = _present_name(cls, name.strip())
        if not equals or not name:
            raise UsageError(f"{setting!r} sets nothing", hint="write --set name=value")
        _known(cls, [name])
        if name in values:
            raise UsageError(f"{name} is set twice")
        values[name] = _from_text(hints[name], text, name)
    return values


def merge(cls: type, *layers: tuple[str, Mapping[str, Any]]) -> Resolved:
    """Lay layers of values over the defaults, a later one over an earlier: preset, file, `--set`.

    Each layer is (source, values); the source is recorded with the values it gave. Raises `UsageError`.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, layer in layers:
        try:
            values.update(_converted(cls, layer))
        except UsageError as error:
            raise UsageError(f"{source}: {error.message}", hint=error.hint) from None
        sources.update(dict.fromkeys(layer, source))
    hparams: Any = _build(cls, values)
    names = [field.name for field in _fields(cls)]
    return Resolved(hparams, {name: (getattr(hparams, name), sources.get(name, DEFAULT)) for name in names})


def to_json(hparams: Any) -> dict[str, Any]:
    """All fields as JSON values: tuples become lists. `from_mapping` reads them back."""
    return {field.name: plain(getattr(hparams, field.name)) for field in _fields(type(hparams))}


def describe(cls: type) -> tuple[HparamField, ...]:
    """One row a field, in the order of the class."""
    hints = field_types(cls)
    return tuple(
        HparamField(
            field.name,
            type_text(hints[field.name]),
            _default_text(field),
            str(field.metadata.get("symbol", "")),
            str(field.metadata.get("help", "")),
            str(field.metadata.get("source", "")),
        )
        for field in _fields(cls)
    )


def undocumented(cls: type) -> list[str]:
    """Fields without a help text; the tests of every method assert that there are none."""
    return [row.field for row in describe(cls) if not row.help.strip()]


def _fields(cls: type) -> list["attrs.Attribute[Any]"]:
    return [field for field in attrs.fields(cls) if field.init]


def field_types(cls: type) -> dict[str, Any]:
    """The type of each field. Raises `PluginError` where a name in one cannot be resolved."""
    try:
        return typing.get_type_hints(cls)
    except NameError as error:
        raise PluginError(f"the types of {cls.__qualname__} cannot be read: {error}") from error


def present_names(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under the present names of fields; a former name gives a `DeprecationWarning` for people.

    Raises `UsageError` when both names are given.
    """
    named: dict[str, Any] = {}
    for given, value in values.items():
        name = _present_name(cls, given)
        if name in named or (name != given and name in values):
            raise UsageError(f"{name} is set twice, also by its former name", hint=f"leave {given} out")
        named[name] = value
    return named


def _present_name(cls: type, given: str) -> str:
    for field in _fields(cls):
        if given and field.metadata.get("formerly") == given:
            warnings.warn(FormerNameWarning(f"{given} is now called {field.name}"), stacklevel=2)
            return field.name
    return given


class FormerNameWarning(UserWarning):
    """A setting was given by the name that it had in an earlier release."""


def _known(cls: type, names: Iterable[str]) -> None:
    fields = [field.name for field in _fields(cls)]
    for name in names:
        if name not in fields:
            raise UsageError(f"there is no hyper-parameter {name!r}", hint=suggestion_or_list(name, fields))


def _converted(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    hints = field_types(cls)
    values = present_names(cls, values)
    _known(cls, values)
    return {name: convert(hints[name], value, name) for name, value in values.items()}


def _build(cls: type[T], values: Mapping[str, Any]) -> T:
    aliases = {field.name: field.alias or field.name for field in _fields(cls)}
    missing = [field.name for field in _fields(cls) if field.default is attrs.NOTHING and field.name not in values]
    if missing:
        raise UsageError(f"{missing[0]} has no default and no value", hint=f"write --set {missing[0]}=…")
    try:
        return cls(**{aliases[name]: value for name, value in values.items()})
    except EditcoreError:
        raise
    except (ValueError, TypeError) as error:
        # attrs' validators put a text first and the field, the options and the value after it.
        text = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
        raise UsageError(" ".join(text.split())) from error


def _from_text(annotation: Any, text: str, name: str) -> Any:
    item = list_item(annotation)
    if text.startswith("@"):
        content = read_text(text[1:], f"the file of {name}")
        if item is str:
            return [line for line in content.splitlines() if line.strip()]
        text, where = content.rstrip("\n"), f"the file {text[1:]!r} of {name}"
    else:
        where = f"the value of {name}"
    if accepts_text(annotation):
        return _text_value(annotation, text)
    value = parse(text, where)
    if item is None or item is str:
        return value
    if isinstance(value, str) and "," in value:
        return parse(f"[{value}]", where)
    return [value] if type(value) in (int, float) else value


def _text_value(annotation: Any, text: str) -> Any:
    """Quoted texts without their quotes, values of a non-text alternative (`null`) as such, all else unchanged."""
    try:
        value = parse(text, "it")
        if isinstance(value, str):
            return value if text.lstrip().startswith(("'", '"')) else text
        return convert(annotation, value, "it")
    except UsageError:
        return text


def plain(value: Any) -> Any:
    """A value as JSON has it: tuples are lists."""
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _default_text(field: "attrs.Attribute[Any]") -> str:
    default: Any = field.default
    if default is attrs.NOTHING:
        return "required"
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        default = default.factory() if not default.takes_self else "computed"
    if default is None:
        return "null"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, (list, tuple)):
        return f"[{', '.join(str(item) for item in default)}]"
    return str(default)
