"""Opening models and editing them from Python, beyond what `editcore` itself offers. Imports torch."""

from editcore.editing.compute import prepare
from editcore.editing.effect import measure
from editcore.editing.untouched import untouched

__all__ = ["measure", "prepare", "untouched"]
