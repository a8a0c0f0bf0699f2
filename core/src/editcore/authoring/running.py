"""Opening models and editing them from Python, beyond what `editcore` itself offers. Imports torch."""

from editcore.editing.measurement import measure
from editcore.editing.model_unchanged import model_unchanged
from editcore.tuning.own import own_facts
from editcore.tuning.prepare import prepare

__all__ = ["measure", "model_unchanged", "own_facts", "prepare"]
