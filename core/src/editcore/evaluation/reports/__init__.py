"""Figures from rows: intervals, required values and gates."""
