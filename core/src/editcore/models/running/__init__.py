"""Forwards of a model: batches, traces, scores, generation, and side branches."""
