"""Changing a model folder: planned, checked for conflicts, journalled, committed, repaired."""
