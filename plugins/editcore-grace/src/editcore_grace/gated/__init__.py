"""Defer and the memory network: a gate beside one layer, and a map that replaces its output where the gate opens."""
