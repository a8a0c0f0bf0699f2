"""The locators keep to what every locator must keep to."""

from editcore.testing.conformance import LocatorConformance


class TestCausalTrace(LocatorConformance):
    locator = "causal-trace"


class TestLogitLens(LocatorConformance):
    locator = "logit-lens"
