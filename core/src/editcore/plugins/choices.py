"""`NAME:key=value,key=value`: what an option of the command line names, made with its settings, and its record.

NAME may be `distribution:name`. Settings hold a `=`, and no name does.
"""

import re
from typing import Any, Final, TypeVar

from attrs import frozen

from editcore.plugins.hparams import from_settings, to_json
from editcore.plugins.registry import Registry
from editcore_hooks import Named, UsageError

N = TypeVar("N", bound=Named)

# A comma parts two settings only where another `name=` follows, so that lists and texts keep theirs.
_NEXT_SETTING: Final = re.compile(r",(?=\s*[A-Za-z_]\w*=)")


@frozen
class Choice:
    """`rect:keep=0.4` taken apart."""

    name: str
    settings: tuple[str, ...] = ()

    def made(self, cls: type[N], what: str, hint: str) -> N:
        """An instance of what the name stands for, such as "the locator window".

        Raises `UsageError` on a setting that it does not have, with `hint`, the command that lists its settings.
        """
        try:
            return cls(from_settings(cls.Hparams, self.settings))
        except UsageError as error:
            close = f"{error.hint} " if error.hint and error.hint.startswith("did you mean") else ""
            raise UsageError(f"{what}: {error.message}", hint=f"{close}{hint}") from None


def parse_choice(text: str, kind: str, option: str) -> Choice:
    """Read `NAME` or `NAME:key=value,key=value`. Raises `UsageError`."""
    before, equals, _ = text.partition("=")
    name, settings = text, ""
    if equals and ":" in before:  # the last one before a value: `distribution:name:key=value`
        end = before.rindex(":")
        name, settings = text[:end], text[end + 1 :]
    if not all(part.strip() for part in name.split(":")):
        raise UsageError(f"{text!r} names no {kind}", hint=f"write {option} NAME:key=value")
    return Choice(name.strip(), tuple(part.strip() for part in _NEXT_SETTING.split(settings)) if settings else ())


def record_of(registry: Registry, instance: Named) -> dict[str, Any]:
    """Its record in a patch: name, distribution, version and all hyper-parameters."""
    distribution, version = registry.source_of(type(instance))
    return {
        "name": instance.name,
        "distribution": distribution,
        "version": version,
        "hparams": to_json(instance.hparams),
    }
