"""What a memory kind is made of. Imports torch."""

from editcore.models.running.memories import attached
from editcore.models.running.memory import Memory, PromptMemory, Seen

__all__ = ["Memory", "PromptMemory", "Seen", "attached"]
