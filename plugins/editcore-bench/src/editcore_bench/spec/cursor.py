"""A value of a YAML file that knows where it stands, so that a refusal names file, line, key and what was expected."""

from collections.abc import Sequence
from typing import Any

from attrs import field, frozen

from editcore.authoring.settings import line_of, suggestion
from editcore_hooks import UsageError


@frozen
class Cursor:
    """`value` of the file called `name`, whose whole text is `text`; `path` leads to it from the root."""

    value: Any
    name: str
    text: str = field(repr=False)
    path: tuple[str | int, ...] = ()

    def refused(self, problem: str, hint: str | None = None) -> UsageError:
        """The error that says where: `spec.yaml, line 7, protocols[1].batch must be …`."""
        where = f"{self.name}, line {line_of(self.text, self.path)}"
        key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path).lstrip(".")
        return UsageError(f"{where}{f', {key}' if key else ''} {problem}", hint=hint)

    def expected(self, what: str, hint: str | None = None) -> UsageError:
        return self.refused(f"must be {what}, not {_shown(self.value)}", hint)

    def at(self, step: str | int) -> "Cursor":
        return Cursor(self.value[step], self.name, self.text, (*self.path, step))

    def has(self, key: str) -> bool:
        """Whether a mapping holds `key` with a value."""
        return self.value.get(key) is not None

    def mapping(self, known: Sequence[str], what: str) -> "Cursor":
        """Itself, a mapping with no key but `known`. Raises `UsageError`."""
        if not isinstance(self.value, dict):
            raise self.expected(what)
        for key in self.value:
            if key not in known:
                near = suggestion(str(key), known)
                raise self.at(key).refused("is not a known key", near or f"known keys: {', '.join(known)}")
        return self

    def items(self, what: str) -> "list[Cursor]":
        """The items of a list that has some. Raises `UsageError`."""
        if not isinstance(self.value, list) or not self.value:
            raise self.expected(f"a list of {what}")
        return [self.at(index) for index in range(len(self.value))]

    def word(self, what: str) -> str:
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.expected(what)
        return self.value

    def integer(self, least: int) -> int:
        if type(self.value) is not int or self.value < least:
            raise self.expected(f"a whole number from {least} on")
        return self.value


def _shown(value: Any) -> str:
    kinds = {dict: "a mapping", list: "a list", type(None): "nothing"}
    return kinds.get(type(value), repr(value))
