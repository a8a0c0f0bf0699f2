"""The plugin host: discovery in isolation, classes by name, and the small plugin manager of each call."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from editcore.plugins.record import PluginRecord
    from editcore.plugins.registry import Registry

__all__ = ["PluginRecord", "Registry"]

_HOMES = {"PluginRecord": "record", "Registry": "registry"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
