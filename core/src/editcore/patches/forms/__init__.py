"""The forms that say how a target's parts describe its delta."""
