"""SERAC: a memory of edits, a scope classifier and a counterfactual model."""
