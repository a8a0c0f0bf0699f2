"""ROME and R-ROME: one fact as one rank-one update of one MLP down projection."""
