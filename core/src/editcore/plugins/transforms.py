"""Transforms: opted into by name, applied in the order given, recorded in the patch."""

import re
from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen

from editcore.plugins.hparams import from_settings, to_json
from editcore.plugins.registry import Registry
from editcore_hooks import PluginError, Transform, Update, UsageError

# A comma parts two settings only where another `name=` follows, so that lists and texts keep theirs.
_NEXT_SETTING: Final = re.compile(r",(?=\s*[A-Za-z_]\w*=)")


@frozen
class TransformChoice:
    """`rect:keep=0.4` taken apart."""

    name: str
    settings: tuple[str, ...] = ()


def parse_transform(text: str) -> TransformChoice:
    """Read `NAME` or `NAME:key=value,key=value`. Raises `UsageError`."""
    name, colon, rest = text.partition(":")
    if not name.strip() or (colon and not rest.strip()):
        raise UsageError(f"{text!r} names no transform", hint="write --transform NAME:key=value")
    return TransformChoice(name.strip(), tuple(part.strip() for part in _NEXT_SETTING.split(rest)) if colon else ())


def make_transforms(registry: Registry, texts: Sequence[str]) -> tuple[Transform, ...]:
    """The instances for `--transform` options, in order. Raises `PluginError` and `UsageError`."""
    made = []
    for choice in map(parse_transform, texts):
        cls = registry.transform(choice.name)
        made.append(cls(from_settings(cls.Hparams, choice.settings)))
    return tuple(made)


def apply_transforms(transforms: Sequence[Transform], session: Any, update: Update) -> Update:
    """Apply each to the result of the one before. Raises `PluginError` when one returns no Update."""
    for transform in transforms:
        update = transform.transform(session, update)
        if not isinstance(update, Update):
            raise PluginError(f"the transform {transform.name!r} returned a {type(update).__name__}, not an Update")
    return update


def transform_record(registry: Registry, transforms: Sequence[Transform]) -> list[dict[str, Any]]:
    """What the patch keeps: name, distribution, version and all hyper-parameters of each, in order."""
    record = []
    for transform in transforms:
        distribution, version = registry.source_of(type(transform))
        record.append(
            {
                "name": transform.name,
                "distribution": distribution,
                "version": version,
                "hparams": to_json(transform.hparams),
            }
        )
    return record
