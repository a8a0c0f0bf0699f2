"""Typed access to one record of a published file; what does not fit is refused with row, key and what was expected."""

from typing import Any

from attrs import frozen

from editcore_hooks import RefusedFileError


@frozen
class Record:
    """A JSON object, its place in the file (`where`), and its own path in the record (`within`, empty at the top)."""

    value: dict[str, Any]
    where: str
    within: str = ""

    @classmethod
    def of(cls, value: Any, where: str, within: str = "") -> "Record":
        if not isinstance(value, dict):
            place = f"{where}: {within!r}" if within else where
            raise RefusedFileError(f"{place} should be an object, not {_shown(value)}")
        return cls(value, where, within)

    def text(self, key: str) -> str:
        """A text that is not blank, without white space around it."""
        value = self.value.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.misfit(key, "a text")
        return value.strip()

    def text_or_none(self, key: str) -> str | None:
        """A text, or None for a blank, a null and a missing one."""
        value = self.value.get(key)
        if value is not None and not isinstance(value, str):
            raise self.misfit(key, "a text")
        return (value or "").strip() or None

    def texts(self, key: str) -> tuple[str, ...]:
        """The texts of a list, or one text alone; blank ones left out, none when it is missing or null."""
        value = self.value.get(key)
        listed = [value] if isinstance(value, str) else ([] if value is None else value)
        if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
            raise self.misfit(key, "a list of texts")
        return tuple(text.strip() for text in listed if text.strip())

    def some_texts(self, key: str) -> tuple[str, ...]:
        """The result of `texts`, with at least one text."""
        texts = self.texts(key)
        if not texts:
            raise self.misfit(key, "a text or a list of texts")
        return texts

    def record(self, key: str) -> "Record":
        return Record.of(self.required(key, "an object"), self.where, self.path(key))

    def records(self, key: str) -> list["Record"]:
        """The objects of a list; none when it is missing or null."""
        value = self.value.get(key)
        if value is not None and not isinstance(value, list):
            raise self.misfit(key, "a list of objects")
        return [Record.of(item, self.where, f"{self.path(key)}[{i}]") for i, item in enumerate(value or [])]

    def required(self, key: str, expected: str) -> Any:
        if key not in self.value:
            raise self.misfit(key, expected)
        return self.value[key]

    def path(self, key: str) -> str:
        return f"{self.within}.{key}" if self.within else key

    def misfit(self, key: str, expected: str, hint: str | None = None) -> RefusedFileError:
        """The error to raise when the value under `key` is not what was expected."""
        said = f"not {_shown(self.value[key])}" if key in self.value else "and is missing"
        hint = hint or "leave such records out with --set skip=true"
        return RefusedFileError(f"{self.where}: {self.path(key)!r} should be {expected}, {said}", hint=hint)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
