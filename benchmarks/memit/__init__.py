"""A batch of MEMIT edits against plain full forwards: seconds, memory and outcomes."""
