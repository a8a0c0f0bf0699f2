"""What an asset is kept under."""

from editcore.assets.identity import Identity

__all__ = ["Identity"]
