"""Defer and the memory network: a gate beside one layer, and what takes the place of the layer's output behind it."""
