"""Transforms: opted into by name, applied in the order given, recorded in the patch."""

from collections.abc import Sequence
from typing import Any

from editcore.plugins.choices import parse_choice, record_of
from editcore.plugins.raising import noted
from editcore.plugins.registry import Registry
from editcore_hooks import PluginError, Session, Transform, Update


def make_transforms(registry: Registry, texts: Sequence[str]) -> tuple[Transform, ...]:
    """The instances for `--transform` options, in order. Raises `PluginError` and `UsageError`."""
    choices = [parse_choice(text, "transform", "--transform") for text in texts]
    return tuple(
        choice.made(
            registry.transform(choice.name), f"the transform {choice.name}", f"editcore transforms {choice.name}"
        )
        for choice in choices
    )


def apply_transforms(transforms: Sequence[Transform], session: Session, update: Update) -> Update:
    """Apply each to the result of the one before. Raises `PluginError` when one returns no Update."""
    for transform in transforms:
        with noted("transform", [(transform, f"the transform {transform.name}")]):
            update = transform.transform(session, update)
        if not isinstance(update, Update):
            raise PluginError(f"the transform {transform.name!r} returned a {type(update).__name__}, not an Update")
    return update


def transform_record(registry: Registry, transforms: Sequence[Transform]) -> list[dict[str, Any]]:
    """The record in the patch: name, distribution, version and all hyper-parameters of each, in order."""
    return [record_of(registry, transform) for transform in transforms]
