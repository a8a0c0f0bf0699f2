"""From deltas to weights, and what deltas are to each other."""
