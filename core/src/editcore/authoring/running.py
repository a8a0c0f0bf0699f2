"""Opening models and editing them from Python, beyond what `editcore` itself offers. Imports torch."""

from editcore.editing.measurement import measure
from editcore.editing.untouched import untouched
from editcore.tuning.prepare import prepare

__all__ = ["measure", "prepare", "untouched"]
