"""The cache of expensive results: statistics, projectors, profiles, trained nets."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from editcore.assets.identity import Identity
    from editcore.assets.store import AssetStore

__all__ = ["AssetStore", "Identity"]

_HOMES = {"AssetStore": "store", "Identity": "identity"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
