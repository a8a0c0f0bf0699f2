"""RECT and PRUNE keep to what every transform must keep to."""

from editcore.testing.conformance import TransformConformance


class TestRect(TransformConformance):
    transform = "rect"


class TestPrune(TransformConformance):
    transform = "prune"
    size = 3.0  # it shrinks only what is larger than the weight's own largest direction
