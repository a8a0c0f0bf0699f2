"""The cache of keys and values by either name: transformers calls it `cache` from 5.24 on, `past_key_values` before."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from editcore.models.running.batch import accepted

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAMES: Final = ("cache", "past_key_values")


def as_cache(model: "PreTrainedModel", cache: Any) -> dict[str, Any]:
    """`cache` as an argument of the model's forward pass."""
    return {NAMES[0] if NAMES[0] in accepted(model) else NAMES[1]: cache}


def cache_of(given: Mapping[str, Any]) -> Any:
    """The cache among the arguments of a forward pass or of `generate`; None where there is none."""
    return next((given[name] for name in NAMES if given.get(name) is not None), None)


def drop_cache(given: dict[str, Any]) -> None:
    """Take the cache out of the arguments."""
    for name in NAMES:
        given.pop(name, None)


def kept_cache(output: Any) -> Any:
    """The cache that a forward pass filled; None where it kept none."""
    return getattr(output, NAMES[0] if hasattr(output, NAMES[0]) else NAMES[1], None)
