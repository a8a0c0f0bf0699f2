"""The identity of an asset."""

from editcore.assets.identity import Identity

__all__ = ["Identity"]
