"""Hyper-parameters: one frozen attrs class a method, every field with help, symbol and source."""

from collections.abc import Callable
from typing import Any, TypeVar

import attrs

T = TypeVar("T")


def hparam(
    default: T,
    *,
    help: str,
    symbol: str = "",
    source: str = "",
    formerly: str = "",
    validator: Callable[[Any, "attrs.Attribute[Any]", Any], Any] | None = None,
) -> T:
    """Declare a field: what it does (`help`), the paper's letter (`symbol`), and where it stands (`source`).

    `formerly` is the name that the field had in an earlier release: it is still taken, with a warning.
    Types that the host converts strictly: bool, int, float, str, Literal, tuple[T, ...] and `T | None` of these.
    """
    metadata = {"help": help, "symbol": symbol, "source": source, "formerly": formerly}
    return attrs.field(default=default, metadata=metadata, validator=validator)  # type: ignore[no-any-return]


@attrs.frozen
class NoHparams:
    """Hyper-parameters of a class without settings."""
